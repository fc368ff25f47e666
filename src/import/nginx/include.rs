//! `include`: the directives of other files in its place, with a bound on their number, size and depth.

use super::super::draft::Draft;
use super::super::note::Kind;
use super::super::settle::Refusal;
use super::super::source::{Include, SourceFile};
use super::parse::{Directive, parse};

/// Most files within each other.
const DEPTH_MAX: usize = 16;
/// Most files in all.
const FILES_MAX: usize = 512;
/// Most directives of all files.
const DIRECTIVES_MAX: usize = 30_000;
/// Most bytes of all files.
const BYTES_MAX: usize = 16 << 20;

/// Files whose content has nothing for a gateway.
const UNREAD: [&str; 9] = [
    "mime.types",
    "fastcgi_params",
    "fastcgi.conf",
    "uwsgi_params",
    "scgi_params",
    "modules-enabled",
    "options-ssl-nginx.conf",
    "ssl-params.conf",
    "koi-utf",
];

struct Expanding<'a> {
    include: Include<'a>,
    draft: &'a mut Draft,
    /// The files that are open, the outermost first.
    open: Vec<String>,
    files: usize,
    bytes: usize,
    directives: usize,
}

/// All directives of the file, with those of the files that it includes in their places.
pub(super) fn expanded(
    main: &SourceFile,
    include: Include,
    draft: &mut Draft,
) -> Result<Vec<Directive>, Refusal> {
    let mut expanding = Expanding { include, draft, open: Vec::new(), files: 0, bytes: 0, directives: 0 };
    expanding.file(main)
}

impl Expanding<'_> {
    fn file(&mut self, source: &SourceFile) -> Result<Vec<Directive>, Refusal> {
        self.files += 1;
        self.bytes += source.text.len();
        if self.files > FILES_MAX || self.bytes > BYTES_MAX {
            let message = format!("more than {FILES_MAX} files, or {} MiB, are included", BYTES_MAX >> 20);
            return Err(Refusal::new(None, message));
        }
        self.open.push(source.name.clone());
        let all = parse(source)?;
        let all = self.block(all);
        self.open.pop();
        all
    }

    fn block(&mut self, block: Vec<Directive>) -> Result<Vec<Directive>, Refusal> {
        self.directives += block.len();
        if self.directives > DIRECTIVES_MAX {
            return Err(Refusal::new(None, format!("there are more than {DIRECTIVES_MAX} directives")));
        }
        let mut all = Vec::new();
        for mut directive in block {
            if let Some(inner) = directive.block.take() {
                directive.block = Some(self.block(inner)?);
                all.push(directive);
            } else if directive.name == "include" {
                all.extend(self.included(&directive)?);
            } else {
                all.push(directive);
            }
        }
        Ok(all)
    }

    fn included(&mut self, directive: &Directive) -> Result<Vec<Directive>, Refusal> {
        let pattern = directive.arg(0);
        let place = Some(directive.place.clone());
        if UNREAD.iter().any(|name| pattern.split('/').any(|part| part == *name)) {
            self.draft.note(
                Kind::Needless,
                place,
                &directive.words(),
                "it has nothing that a gateway needs",
                "",
            );
            return Ok(Vec::new());
        }
        let sources = match (self.include)(pattern) {
            Ok(sources) if sources.is_empty() => Err("no file matches".to_owned()),
            other => other,
        };
        let sources = match sources {
            Ok(sources) => sources,
            Err(why) => {
                self.draft.note(
                    Kind::Left,
                    place,
                    &directive.words(),
                    &format!("cannot be read: {why}"),
                    "import it where the file is, or by `nginx -T`, if it says anything of nodes",
                );
                return Ok(Vec::new());
            }
        };
        let mut all = Vec::new();
        for source in sources {
            if let Some(at) = self.open.iter().position(|name| *name == source.name) {
                let mut circle = self.open[at..].to_vec();
                circle.push(source.name);
                let message = format!("files include each other in a circle: {}", circle.join(", "));
                return Err(Refusal::new(place, message));
            }
            if self.open.len() == DEPTH_MAX {
                let message = format!("more than {DEPTH_MAX} files include each other");
                return Err(Refusal::new(place, message));
            }
            all.extend(self.file(&source)?);
        }
        Ok(all)
    }
}
