//! Checks that modules import only downwards: a layer knows only the layers below it.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, sources};

struct Layer {
    name: &'static str,
    modules: &'static [&'static str],
    /// Advice instead of using this layer from below.
    instead: &'static str,
}

/// The layers from the top down. All adapters share `journal` and `live`.
const LAYERS: &[Layer] = &[
    Layer { name: "main", modules: &["main"], instead: "nothing uses main" },
    Layer {
        name: "cli",
        modules: &["cli"],
        instead: "what a command needs is given to it from below: move the shared part down",
    },
    Layer {
        name: "server",
        modules: &["server"],
        instead: "server puts the parts together: let it hand over a value or a handle",
    },
    Layer {
        name: "adapters",
        modules: &[
            "proxy",
            "admin",
            "check",
            "discovery",
            "reload",
            "sampler",
            "cluster",
            "acme",
            "registration",
        ],
        instead: "an adapter does I/O: translate there, and hand plain values to what lies below; what two adapters share \
                  belongs into live (state), journal (what is written down) or a decision",
    },
    Layer {
        name: "journal",
        modules: &["journal", "tracer"],
        instead: "return the event, and let the adapter that asked announce it",
    },
    Layer {
        name: "live",
        modules: &["live"],
        instead: "let an adapter take what is needed out of live, and pass a plain value",
    },
    Layer {
        name: "causes",
        modules: &["causes"],
        instead: "causes are read from a snapshot: a view shows those that it is given",
    },
    Layer {
        name: "views",
        modules: &["access_log", "metrics", "spans", "status"],
        instead: "a decision returns values; how they are shown is a view's business",
    },
    Layer {
        name: "material",
        modules: &["material", "tls", "tokens"],
        instead: "what is read from files is a value to all above; a decision gets plain values",
    },
    Layer {
        name: "decisions",
        modules: &[
            "admission",
            "balance",
            "classify",
            "credits",
            "fleet",
            "forwarded",
            "history",
            "http1",
            "import",
            "journey",
            "keys",
            "resume",
            "retry",
            "route",
            "sources",
            "trace",
        ],
        instead: "a value knows no decision: move the shared part into config or outcome",
    },
    Layer { name: "values", modules: &["config", "mix", "outcome"], instead: "" },
];

const ADAPTERS: &str = "adapters";
const SIM: &str = "sim";
/// Words of the host, which only adapters may use.
const HOST: &[&str] =
    &["pingora", "pingora_proxy", "pingora_load_balancing", "tokio", "hyper", "async_trait"];
const CLOCK: &[&str] =
    &["Instant::now", "SystemTime::now", "UNIX_EPOCH", "Timestamp::now", "Zoned::now", ".elapsed()"];
const LOG: &[&str] = &["log::", "env_logger", "println!", "eprintln!"];

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.modules.contains(&module))
}

fn is_in(source: &Source, layers: &[&str]) -> bool {
    layer_of(source.module()).is_some_and(|layer| layers.contains(&LAYERS[layer].name))
}

/// The fault of an arrow, if it has one, and advice.
fn judge(from: &str, to: &str) -> Option<String> {
    if from == to {
        return None;
    }
    if from == SIM {
        let allowed = layer_of(to).is_some_and(|layer| LAYERS[layer].name == "values");
        return (!allowed).then(|| {
            "the simulated node stands alone, so that it does not share the gateway's faults: copy the few lines, or move \
             a value that both need into config or outcome"
                .into()
        });
    }
    let below = layer_of(from)?;
    let layer = &LAYERS[below];
    if to == SIM {
        let allowed = matches!(layer.name, "cli");
        return (!allowed).then(|| "only commands and tests use the simulated node".into());
    }
    let above = layer_of(to)?;
    let up = above < below;
    let beside = above == below && layer.name == ADAPTERS;
    if !up && !beside {
        return None;
    }
    let target = &LAYERS[above];
    let how = if up {
        format!("{} is above {}", target.name, layer.name)
    } else {
        "no adapter imports another".into()
    };
    Some(format!("{how}; {}", target.instead))
}

#[test]
fn every_module_has_its_layer() {
    let known = |module: &str| matches!(module, "lib" | SIM) || layer_of(module).is_some();
    let strangers: BTreeSet<_> =
        sources().iter().map(|source| source.module().to_owned()).filter(|module| !known(module)).collect();
    assert!(
        strangers.is_empty(),
        "{strangers:?}: give each a layer in tests/house/arrows.rs, and a line in ARCHITECTURE.md"
    );
}

#[test]
fn arrows_go_down() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.module() != "lib") {
        for (line, to) in source.uses() {
            if let Some(why) = judge(source.module(), &to) {
                wrong.push(format!("{}:{line}: {} uses {to}: {why}", source.path, source.module()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Modules of one layer may use each other, but not in a circle.
#[test]
fn no_circle() {
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources().iter().filter(|source| source.module() != "lib") {
        let from = source.module();
        let known = |to: &String| to != from && (to == SIM || layer_of(to).is_some());
        let uses = source.uses().into_iter().map(|(_, to)| to).filter(known);
        below.entry(from.to_owned()).or_default().extend(uses);
    }
    // repeatedly remove modules that use no remaining one; only circles cannot be removed
    while let Some(done) = below.iter().find(|(_, uses)| uses.is_empty()).map(|(module, _)| module.clone()) {
        below.remove(&done);
        below.values_mut().for_each(|uses| {
            uses.remove(&done);
        });
    }
    assert!(
        below.is_empty(),
        "these modules form a circle, or use one: {below:#?}: move their shared part down"
    );
}

#[test]
fn decisions_and_values_use_no_io_log_or_clock() {
    let mut wrong = Vec::new();
    let mut forbid = |layers: &[&str], words: &[&'static str], instead: &str| {
        for source in sources().iter().filter(|source| is_in(source, layers)) {
            for (line, word) in source.find(words) {
                wrong.push(format!("{}:{line}: {word}: {instead}", source.path));
            }
        }
    };
    let pure = &["decisions", "values"];
    let with_views = &["views", "decisions", "values"];
    forbid(
        with_views,
        HOST,
        "I/O and Pingora's types belong into an adapter (src/proxy, src/check.rs ...), which passes plain values",
    );
    forbid(with_views, CLOCK, "take `now` as an argument; adapters read the clock");
    forbid(pure, LOG, "return what happened, as an event or with a reason; src/journal.rs writes it down");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_rules_judge_sample_arrows() {
    assert!(judge("fleet", "proxy").is_some_and(|why| why.contains("adapters is above decisions")));
    assert!(judge("proxy", "check").is_some_and(|why| why.contains("no adapter imports another")));
    assert!(judge("sim", "fleet").is_some() && judge("sim", "config").is_none());
    assert!(judge("proxy", "sim").is_some() && judge("cli", "sim").is_none());
    for (from, to) in [("main", "server"), ("proxy", "live"), ("journal", "live"), ("fleet", "balance")] {
        assert_eq!(judge(from, to), None, "{from} uses {to}");
    }
}
