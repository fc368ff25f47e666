//! TLS to nodes, unix sockets and the nodes' own keys.

use std::io;
use std::path::Path;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;

use super::SERVER;
use crate::config::outside::Outside;
use crate::config::{Config, Link, Node, NodeTls};

/// A certificate and its key, in PEM.
fn pair() -> [String; 2] {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["n1".to_owned()]).expect("a certificate");
    [cert.pem(), signing_key.serialize_pem()]
}

/// The files `ca.pem`, `client.pem`, `client.key` and `node.key`, and some that are of no use.
struct Files {
    ca: String,
    client: [String; 2],
    other_key: String,
}

impl Files {
    fn new() -> Self {
        let [[ca, _], client] = [pair(), pair()];
        Self { ca, client, other_key: KeyPair::generate().expect("a key").serialize_pem() }
    }

    fn parse(&self, pools: &str) -> Result<Vec<Node>, Vec<String>> {
        let file = |path: &Path| {
            let text = match path.to_str().unwrap_or_default() {
                "ca.pem" => &*self.ca,
                "client.pem" => &self.client[0],
                "client.key" => &self.client[1],
                "other.key" => &self.other_key,
                "node.key" => "sk-planted\n",
                "basic.key" => "Basic dXNlcjpw",
                "two.key" => "sk-planted\nsk-planted",
                "empty" => "\n",
                _ => return Err(io::ErrorKind::NotFound.into()),
            };
            Ok(text.as_bytes().to_vec())
        };
        let authorities = || vec![CertificateDer::from(pem(&self.ca))];
        let outside = Outside { file: &file, authorities: &authorities, ..Outside::NOTHING };
        let text = format!("{SERVER}pools: {{ p: {{ {pools} }} }}");
        let config = Config::parse_with(&text, "t", &outside).map_err(|problems| {
            problems
                .list
                .iter()
                .map(|problem| format!("{}: {}", problem.path, problem.message))
                .collect::<Vec<_>>()
        })?;
        Ok(config.pools.into_iter().flat_map(|pool| pool.nodes).collect())
    }

    fn nodes(&self, pools: &str) -> Vec<Node> {
        self.parse(pools).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    fn tls(&self, pools: &str) -> NodeTls {
        let node = self.nodes(pools).remove(0);
        let Link::Tls(tls) = node.link else { panic!("{node:?}") };
        NodeTls::clone(&tls)
    }
}

/// The DER within PEM.
fn pem(text: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(text.as_bytes()).expect("a certificate").to_vec()
}

#[test]
fn addresses_and_names() {
    let nodes = Files::new()
        .nodes("nodes: [\"https://N1.example\", \"https://[::1]:8443\", \"unix:/run/vllm.sock\", \"n1:1\"]");
    let shown: Vec<_> = nodes.iter().map(|node| (node.address.to_string(), &*node.name)).collect();
    let want = [
        ("https://n1.example:443", "n1.example:443"),
        ("https://[::1]:8443", "[::1]:8443"),
        ("unix:/run/vllm.sock", "vllm.sock"),
        ("n1:1", "n1:1"),
    ];
    assert_eq!(shown, want.map(|(address, name)| (address.to_owned(), name)));
    let links = nodes.iter().map(|node| match &node.link {
        Link::Tcp => "tcp".to_owned(),
        Link::Tls(tls) => tls.name.to_str().into_owned(),
        Link::Unix(path) => path.display().to_string(),
    });
    assert_eq!(links.collect::<Vec<_>>(), ["n1.example", "::1", "/run/vllm.sock", "tcp"]);
}

/// Connections may be shared between equal settings, and between no others.
#[test]
fn settings_are_equal_where_all_of_them_are() {
    let files = Files::new();
    let base = files.tls("nodes: [{ address: \"https://n1\", tls: { ca: ca.pem } }]");
    let same = files.tls("tls: { ca: ca.pem }, nodes: [{ address: \"https://n1:8443\" }]");
    assert_eq!(base, same);
    // the system's authorities here are the same
    assert_eq!(base, files.tls("nodes: [\"https://n1\"]"));
    for other in [
        "nodes: [\"https://n2\"], tls: { ca: ca.pem }",
        "nodes: [\"https://n1\"], tls: { ca: ca.pem, sni: n2 }",
        "nodes: [\"https://n1\"], tls: { ca: client.pem }",
        "nodes: [\"https://n1\"], tls: { ca: ca.pem, cert: client.pem, key: client.key }",
        "nodes: [\"https://n1\"], tls: { ca: ca.pem }, http_version: 2",
    ] {
        assert_ne!(base, files.tls(other), "{other}");
    }
    assert_ne!(base, Files::new().tls("nodes: [{ address: \"https://n1\", tls: { ca: ca.pem } }]"));
}

#[test]
fn a_node_overrides_its_pool() {
    let nodes = Files::new().nodes(
        "tls: { sni: all }, authorization: { file: node.key }, nodes: [\"https://a\", \
         { address: \"https://b\", tls: { sni: own }, authorization: off }, \
         { address: \"c:1\", authorization: { file: basic.key } }]",
    );
    let names = nodes.iter().map(|node| match &node.link {
        Link::Tls(tls) => tls.name.to_str().into_owned(),
        _ => String::new(),
    });
    assert_eq!(names.collect::<Vec<_>>(), ["all", "own", ""]);
    let keys: Vec<_> = nodes
        .iter()
        .map(|node| node.authorization.as_ref().map(|key| key.value().to_str().expect("text")))
        .collect();
    assert_eq!(keys, [Some("Bearer sk-planted"), None, Some("Basic dXNlcjpw")]);
    let shown = format!("{nodes:?}");
    assert!(shown.contains("NodeKey") && !shown.contains("planted") && !shown.contains("dXNl"), "{shown}");
}

/// The word for a default is a node's own choice, too.
#[test]
fn a_node_has_the_default_in_spite_of_its_pool() {
    let files = Files::new();
    let all = "ca: client.pem, sni: all, cert: client.pem, key: client.key";
    let ours = "https://n1";
    for (node, same) in [
        ("ca: system, sni: auto, cert: off, key: off", ""),
        ("ca: system, sni: auto, cert: off", ""),
        ("ca: system, sni: auto, key: off", ""),
        ("ca: system, sni: auto", "cert: client.pem, key: client.key"),
        ("ca: system", "sni: all, cert: client.pem, key: client.key"),
        ("sni: auto, cert: off", "ca: client.pem"),
    ] {
        let overrides =
            files.tls(&format!("tls: {{ {all} }}, nodes: [{{ address: \"{ours}\", tls: {{ {node} }} }}]"));
        let plain = files.tls(&format!("tls: {{ {same} }}, nodes: [\"{ours}\"]"));
        assert_eq!(overrides, plain, "{node}");
    }
}

#[test]
fn each_mistake_with_its_message() {
    let files = Files::new();
    let on_node = "pools.p.nodes[0]";
    let table: [(&str, &str, &str); 16] = [
        ("tls: { ca: no.pem }", ".tls.ca", "`no.pem` cannot be read: entity not found"),
        (
            "tls: { ca: client.key }",
            ".tls.ca",
            "`client.key` has no certificate in PEM (-----BEGIN CERTIFICATE-----)",
        ),
        ("tls: { ca: empty }", ".tls.ca", "`empty` has no certificate in PEM (-----BEGIN CERTIFICATE-----)"),
        (
            "tls: { sni: \"\" }",
            ".tls.sni",
            "`` is not a host name; write the one that the node's certificate is for",
        ),
        ("tls: { sni: }", ".tls.sni", "has no value; write one, or remove the key"),
        (
            "tls: { sni: 10.0.0.1 }",
            ".tls.sni",
            "`10.0.0.1` is not a host name; write the one that the node's certificate is for",
        ),
        (
            "tls: { sni: \"a b\" }",
            ".tls.sni",
            "`a b` is not a host name; write the one that the node's certificate is for",
        ),
        ("tls: { cert: client.pem }", ".tls.key", "is missing; `cert` needs it"),
        ("tls: { key: client.key }", ".tls.cert", "is missing; `key` is its key"),
        (
            "tls: { cert: client.pem, key: ca.pem }",
            ".tls.key",
            "`ca.pem` has no private key in PEM; one with a passphrase cannot be read",
        ),
        (
            "tls: { cert: client.pem, key: other.key }",
            ".tls.key",
            "`other.key` is not the key of the certificate in `client.pem`",
        ),
        ("tls: { insecure: true }", ".tls.insecure", "unknown key; the keys here are ca, sni, cert, key"),
        ("authorization: { file: no }", ".authorization.file", "`no` cannot be read: entity not found"),
        (
            "authorization: { file: empty }",
            ".authorization.file",
            "`empty` is empty; write the node's key into it",
        ),
        (
            "authorization: { file: two.key }",
            ".authorization.file",
            "`two.key` is not one line of ASCII; write the node's key into it, and nothing else",
        ),
        (
            "authorization: {}",
            ".authorization.file",
            "is missing; name the file that has the key, such as `file: /etc/evenkeel/node.key`",
        ),
    ];
    for (keys, path, message) in table {
        let found = files.parse(&format!("nodes: [{{ address: \"https://n1\", {keys} }}]"));
        assert_eq!(found.expect_err(keys), [format!("{on_node}{path}: {message}")], "{keys}");
    }
    let back = files.parse("nodes: [\"https://127.0.0.1:9999\"]").expect_err("its own address");
    let leads = "https://127.0.0.1:9999 leads back to the gateway, which listens on 127.0.0.1:9999";
    assert_eq!(back, [format!("{on_node}: {leads}")]);
    let only = "is for nodes whose address begins with https://";
    for (keys, path) in [
        ("nodes: [{ address: n1:1, tls: { ca: ca.pem } }]", "pools.p.nodes[0].tls"),
        ("nodes: [n1:1], tls: { sni: n2 }", "pools.p.tls"),
    ] {
        assert_eq!(files.parse(keys).expect_err(keys), [format!("{path}: {only}")], "{keys}");
    }
}
