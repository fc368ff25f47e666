//! Files that the config names by relative paths.

use std::path::PathBuf;

use crate::config::{Config, Listening, Source};

#[test]
fn relative_paths_begin_in_the_folder_of_the_config() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("evenkeel.yaml");
    let tls = "tls: { cert: c.pem, key: k.pem, certificates: [{ cert: d/c2.pem, key: /k2.pem }], \
               verify_client: on, client_ca: ca.pem, \
               auto: { names: [a.example], terms_agreed: true, state: acme, ca: minica.pem } }";
    let text = format!(
        "server:\n  listen: [{{ address: 127.0.0.1:443, {tls} }}]\n  api_keys: {{ file: keys.yaml }}\n  state: kept\n  \
         admin: {{ address: 127.0.0.1:9990, {tls}, tokens: [{{ role: read, file: token }}] }}\n\
         pools: {{ a: {{ nodes: [n:80], sources: [{{ dns: b:1 }}, {{ file: nodes.yaml }}, {{ file: /n.yaml }}] }} }}\n"
    );
    std::fs::write(&path, text).expect("a file");
    let Config { mut server, pools, .. } =
        Config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    let here = |names: &[&str]| names.iter().map(|name| dir.path().join(name)).collect::<Vec<PathBuf>>();
    let want = here(&["c.pem", "k.pem", "d/c2.pem", "/k2.pem", "acme", "minica.pem", "ca.pem"]);
    let files = |tls: Option<&mut Listening>| -> Vec<PathBuf> {
        tls.expect("it has TLS").files_mut().map(|file| file.clone()).collect()
    };
    assert_eq!(files(server.listen[0].tls.as_mut()), want);
    assert_eq!(files(server.admin.tls.as_mut()), want);
    assert_eq!(server.admin.tokens[0].file, dir.path().join("token"));
    let sources = pools[0].sources.iter().filter_map(|source| match source {
        Source::File(file) => Some(file.path.clone()),
        Source::Dns(_) | Source::Registered(_) => None,
    });
    assert_eq!(sources.collect::<Vec<_>>(), here(&["nodes.yaml", "/n.yaml"]));
    assert_eq!(server.state, Some(dir.path().join("kept")));
    assert_eq!(server.api_keys.expect("a file of keys").file, dir.path().join("keys.yaml"));
}
