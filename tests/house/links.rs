//! Checks that links in Markdown pages lead to existing files.

use std::fs;

use super::source::{files, root, shown};

#[test]
fn links_lead_to_existing_files() {
    let pages = ["deploy", "src", "tests"].into_iter().flat_map(files);
    let pages = pages.filter(|path| path.extension().is_some_and(|e| e == "md"));
    let mut links = 0;
    for page in pages.chain(["README.md", "CHANGELOG.md"].map(|name| root().join(name))) {
        let text = fs::read_to_string(&page).expect("UTF-8");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http")) {
            let path = page.parent().expect("a folder").join(target.split('#').next().unwrap_or(target));
            assert!(path.exists(), "{}: the link to {target} leads nowhere", shown(&page));
            links += 1;
        }
    }
    assert!(links > 10, "only {links} links");
}
