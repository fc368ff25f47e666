//! Notes on the directives that have no translation.

use super::super::draft::Draft;
use super::super::note::Kind;
use super::parse::Directive;
use super::reasons::{GUARD, ROWS, TRANSLATED};
use super::site::passes_on;

/// Notes on all that has not been translated. `used`: the servers that have.
pub(super) fn sweep(block: &[Directive], used: &[&Directive], draft: &mut Draft) {
    for directive in block {
        let place = Some(directive.place.clone());
        let is_used = || used.iter().any(|server| std::ptr::eq(*server, directive));
        match directive.name.as_str() {
            "server" if directive.block.is_some() && !is_used() => {
                let advice = "leave it to nginx, if it is needed";
                draft.note(Kind::Left, place, &server_words(directive), "it leads to no nodes", advice);
            }
            "location" if !passes_on(directive) => {
                draft.note(Kind::Left, place, &directive.words(), "it leads to no nodes", advice(directive));
            }
            "location" => {
                // a rewriting of paths on the way to nodes has been judged with these
                let own = directive.children().iter().filter(|one| one.name != "rewrite");
                own.for_each(|one| sweep(std::slice::from_ref(one), used, draft));
            }
            "upstream" => {
                let own = directive.children().iter().filter(|one| one.name != "server");
                own.for_each(|one| note(one, &one.name, draft));
            }
            // entries, not directives
            "map" | "geo" | "split_clients" | "types" | "stream" => {}
            "if" if passes_on(directive) => {}
            "if" if refuses(directive) => draft.note(Kind::Exposed, place, "if", GUARD.0, GUARD.1),
            name => {
                note(directive, name, draft);
                sweep(directive.children(), used, draft);
            }
        }
    }
}

/// The answer to the condition is that the client may not.
fn refuses(condition: &Directive) -> bool {
    let statuses = ["401", "403", "444"];
    condition.children().iter().any(|one| one.name == "return" && statuses.contains(&one.arg(0)))
}

fn note(directive: &Directive, name: &str, draft: &mut Draft) {
    if TRANSLATED.contains(&name) {
        return;
    }
    let place = Some(directive.place.clone());
    let row = ROWS.iter().find(|(names, ..)| names.contains(&name));
    match row {
        Some((_, kind, reason, advice)) => draft.note(*kind, place, name, reason, advice),
        None if name.starts_with("access_by_lua") => draft.note(Kind::Exposed, place, name, GUARD.0, GUARD.1),
        None if name.contains("_by_lua") || name.starts_with("lua_") => {
            let advice = "the model in a body is read by Evenkeel itself: see `models`";
            draft.note(Kind::Left, place, name, "there are no scripts", advice);
        }
        None => draft.note(Kind::Left, place, name, "no translation of it is known", ""),
    }
}

fn server_words(server: &Directive) -> String {
    let said = |name: &str| server.children().iter().find(|one| one.name == name).map(Directive::words);
    let parts: Vec<_> = [said("listen"), said("server_name")].into_iter().flatten().collect();
    if parts.is_empty() { "server".to_owned() } else { format!("server ({})", parts.join(", ")) }
}

fn advice(location: &Directive) -> &'static str {
    let path = location.args.last().map_or("", String::as_str);
    if ["health", "ping", "ready", "live", "status", "metrics"].iter().any(|word| path.contains(word)) {
        "see `server.admin`: /livez, /readyz, /metrics and the status are there, `probes` shows the first three to others"
    } else {
        "leave it to nginx, if it is needed"
    }
}
