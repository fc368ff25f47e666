//! `model_list`: each entry that leads to a server of one's own is a node.

use super::super::draft::{Draft, Mapping};
use super::super::note::{Kind, Origin};
use super::tree::Tree;
use crate::config::NodeAddress;

/// Providers whose API is the one that Evenkeel passes on, where an address says whose server it is.
const OURS: &[&str] = &[
    "openai",
    "hosted_vllm",
    "text-completion-openai",
    "custom_openai",
    "openai_like",
    "llamafile",
    "lm_studio",
    "xinference",
    "litellm_proxy",
    "nvidia_nim",
    "docker_model_runner",
    "infinity",
    "ollama",
    "ollama_chat",
    "lemonade",
    "ramalama",
    "aiohttp_openai",
];
/// Keys that stand for none.
const NO_KEYS: &[&str] = &[
    "",
    "none",
    "null",
    "empty",
    "dummy",
    "fake",
    "fake-key",
    "not-needed",
    "sk-no-key-required",
    "no-key",
    "anything",
    "na",
];

/// A server that serves one model under one name.
#[derive(Debug)]
pub(super) struct Deployment {
    /// As clients call it.
    pub name: String,
    /// As the server calls it.
    pub model: String,
    /// As the config has it.
    pub address: String,
    pub weight: Option<(f64, Origin)>,
    pub order: Option<(f64, Origin)>,
    pub most: Option<(u64, Origin)>,
    pub key: Option<Origin>,
    pub provider: String,
    pub from: Option<Origin>,
    pub address_from: Option<Origin>,
}

/// All of them, and notes on those that are none.
pub(super) fn deployments(root: Tree, draft: &mut Draft) -> Vec<Deployment> {
    let Some(list) = root.get("model_list") else { return Vec::new() };
    list.items().filter_map(|entry| deployment(entry, draft)).collect()
}

fn deployment(entry: Tree, draft: &mut Draft) -> Option<Deployment> {
    let name_at = entry.get("model_name")?;
    let name = name_at.text()?;
    let params = entry.get("litellm_params");
    let from = name_at.origin("model_name");
    let mut left = |reason: &str, advice: &str| {
        draft.note(Kind::Left, name_at.place(), &format!("model_name: {name}"), reason, advice);
        None
    };
    let Some((params, model)) = params.and_then(|params| Some((params, params.get("model")?.text()?))) else {
        return left("it has no `litellm_params.model`", "");
    };
    let said = params.get("custom_llm_provider").and_then(Tree::text);
    let (provider, model) = match (said, model.split_once('/')) {
        (Some(provider), _) => (provider, model),
        (None, Some((provider, model))) => (provider.to_owned(), model.to_owned()),
        (None, None) => (String::new(), model),
    };
    let base = params.any(&["api_base", "base_url"]);
    let Some((base_key, base)) = base else {
        return left(
            "it leads to a provider's service; Evenkeel balances servers of your own",
            "leave it to LiteLLM, with this gateway behind it for your servers",
        );
    };
    if !provider.is_empty() && !OURS.contains(&provider.as_str()) {
        return left(
            &format!("`{provider}` has an API of its own, and Evenkeel does not translate between APIs"),
            "leave it to LiteLLM",
        );
    }
    let text = base.text().unwrap_or_default();
    let (address, path) = match address(&text) {
        Ok(found) => found,
        Err(why) => return left(&why, ""),
    };
    if !matches!(&*path, "" | "/v1") {
        let reason = format!(
            "the path of `{base_key}` is not added: clients must send the whole path that the nodes know"
        );
        draft.note(Kind::Warning, base.place(), base_key, &reason, "");
    }
    let number = |key: &str| params.get(key).and_then(|at| Some((at.number()?, at.origin(key)?)));
    let weight =
        ["weight", "rpm", "tpm"].into_iter().find_map(|key| number(key).or_else(|| entry_number(entry, key)));
    let most = params
        .get("max_parallel_requests")
        .and_then(|at| Some((at.text()?.parse().ok()?, at.origin("max_parallel_requests")?)));
    Some(Deployment {
        key: params.get("api_key").filter(|key| is_key(*key)).and_then(|key| key.origin("api_key")),
        order: number("order"),
        address_from: base.origin(base_key),
        name,
        model,
        address,
        weight,
        most,
        provider,
        from,
    })
}

/// LiteLLM takes the limits beside `litellm_params` too.
fn entry_number(entry: Tree, key: &str) -> Option<(f64, Origin)> {
    let at = entry.get(key)?;
    Some((at.number()?, at.origin(key)?))
}

fn is_key(key: Tree) -> bool {
    key.text().is_some_and(|key| !NO_KEYS.contains(&&*key.to_ascii_lowercase()))
}

/// The address of a node, and the path behind it without a last `/`.
fn address(base: &str) -> Result<(String, String), String> {
    if base.contains("os.environ/") || base.contains(['$', '{', '<']) {
        return Err("its address is a placeholder; put its value there first".to_owned());
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("http", base));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("its address has a user and a password; see `authorization`".to_owned());
    }
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.ends_with(':') && port.parse::<u16>().is_ok());
    let address = match (scheme, has_port) {
        ("https", _) => format!("https://{authority}"),
        ("http", true) => authority.to_owned(),
        ("http", false) => format!("{authority}:80"),
        _ => return Err("its address is not of HTTP".to_owned()),
    };
    match address.parse::<NodeAddress>() {
        Ok(_) => Ok((address, path.trim_end_matches('/').to_owned())),
        Err(why) => Err(format!("its address is not one of a node: {why}")),
    }
}

impl Deployment {
    /// The node, with what is its own.
    pub(super) fn node(&self, by_weight: bool, is_backup: bool) -> Mapping {
        let mut node = Mapping::default();
        node.text("address", self.address.clone(), self.address_from.as_ref());
        if let Some((weight, from)) = self.weight.as_ref().filter(|(weight, _)| by_weight && *weight > 0.0) {
            node.word("weight", weight.clamp(1e-6, 1e6).to_string(), Some(from));
        }
        if let Some((most, from)) = &self.most {
            node.word("max_in_flight", most.to_string(), Some(from));
        }
        if is_backup {
            node.word("backup", "true", self.order.as_ref().map(|(_, from)| from));
        }
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_servers() {
        let table = [
            ("http://10.0.0.1:8000/v1", Ok(("10.0.0.1:8000", "/v1"))),
            ("http://vllm:8000/v1/", Ok(("vllm:8000", "/v1"))),
            ("http://vllm", Ok(("vllm:80", ""))),
            ("https://gpu.example.org/llm", Ok(("https://gpu.example.org", "/llm"))),
            ("gpu:8000", Ok(("gpu:8000", ""))),
            ("http://[::1]:8000", Ok(("[::1]:8000", ""))),
        ];
        for (text, wanted) in table {
            let found = address(text);
            assert_eq!(
                found.as_ref().map(|(address, path)| (&**address, &**path)).map_err(|_| ()),
                wanted,
                "{text}"
            );
        }
        for text in ["os.environ/BASE", "http://u:p@h:1", "ftp://h", "http://", "http://${X}:1"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
