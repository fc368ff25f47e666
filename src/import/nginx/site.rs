//! The servers of a config, and every place in them that passes requests on.

use super::parse::Directive;
use super::scope::Scope;

/// A `server` block.
#[derive(Debug)]
pub(super) struct Server<'a> {
    pub directive: &'a Directive,
    pub scope: Scope<'a>,
    pub passes: Vec<Pass<'a>>,
}

/// A directive that passes requests on.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    pub directive: &'a Directive,
    pub scope: Scope<'a>,
    pub location: Location<'a>,
    /// The condition of the `if` around it.
    pub condition: Option<&'a Directive>,
}

/// The paths of a `location`; all of them where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Location<'a> {
    Prefix(&'a str),
    Exact(&'a str),
    Regex(&'a str),
    Named(&'a str),
}

impl<'a> Location<'a> {
    fn of(directive: &'a Directive) -> Self {
        match (directive.arg(0), directive.arg(1)) {
            ("=", path) => Self::Exact(path),
            ("~" | "~*", regex) => Self::Regex(regex),
            ("^~", path) => Self::Prefix(path),
            (path, _) if path.starts_with('@') => Self::Named(path),
            (path, _) => match path.strip_prefix('=') {
                Some(path) => Self::Exact(path),
                None => Self::Prefix(path),
            },
        }
    }

    /// The words of the path.
    pub(super) fn path(&self) -> &'a str {
        match self {
            Self::Prefix(path) | Self::Exact(path) | Self::Regex(path) | Self::Named(path) => path,
        }
    }

    pub(super) fn is_root(&self) -> bool {
        matches!(self, Self::Prefix("/") | Self::Regex(".*" | "^/" | "/" | "^/(.*)$" | "^(.*)$"))
    }
}

/// All servers of a context, each with the places that pass requests on.
pub(super) fn servers<'a>(http: &'a [Directive], outer: &Scope<'a>) -> Vec<Server<'a>> {
    let scope = outer.within(http);
    let blocks = http.iter().filter(|directive| directive.name == "server" && directive.block.is_some());
    let server = |directive: &'a Directive| {
        let scope = scope.within(directive.children());
        let mut passes = Vec::new();
        walk(directive.children(), &scope, Location::Prefix("/"), None, &mut passes);
        Server { directive, scope, passes }
    };
    blocks.map(server).collect()
}

/// The places among these directives. The parser has bounded their depth.
pub(super) fn walk<'a>(
    block: &'a [Directive],
    scope: &Scope<'a>,
    location: Location<'a>,
    condition: Option<&'a Directive>,
    passes: &mut Vec<Pass<'a>>,
) {
    // places for nginx's own questions, such as those of `auth_request`
    if block.iter().any(|directive| directive.name == "internal") {
        return;
    }
    for directive in block {
        let inner = || scope.within(directive.children());
        match directive.name.as_str() {
            "location" if directive.block.is_some() => {
                walk(directive.children(), &inner(), Location::of(directive), condition, passes);
            }
            "if" => walk(directive.children(), &inner(), location, Some(directive), passes),
            "limit_except" => walk(directive.children(), &inner(), location, condition, passes),
            "proxy_pass" | "grpc_pass" => {
                passes.push(Pass { directive, scope: scope.clone(), location, condition });
            }
            _ => {}
        }
    }
}

/// There is a place that passes clients' requests on somewhere in the block.
pub(super) fn passes_on(directive: &Directive) -> bool {
    let is_internal = directive.children().iter().any(|one| one.name == "internal");
    !is_internal && is_or_has_pass(directive)
}

fn is_or_has_pass(directive: &Directive) -> bool {
    matches!(&*directive.name, "proxy_pass" | "grpc_pass") || directive.children().iter().any(passes_on)
}
