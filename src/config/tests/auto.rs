//! `tls.auto`: what is accepted, refused and told.

use std::path::PathBuf;

use super::refused::{Cases, assert_refused};
use super::{POOLS, parse};
use crate::config::{Auto, Challenge, Config};

fn text(listen: &str) -> String {
    format!("server: {{ listen: [{listen}] }}\n{POOLS}")
}

fn config(listen: &str) -> Config {
    parse(&text(listen))
}

fn auto(keys: &str) -> Auto {
    let listen = format!("{{ address: \"[::]:443\", tls: {{ auto: {{ {keys} }} }} }}");
    let mut config = config(&listen);
    config.server.listen.remove(0).tls.expect("TLS").auto.expect("by itself")
}

#[test]
fn the_smallest_has_the_defaults() {
    let auto = auto("names: [GW.example.org.], terms_agreed: true");
    assert_eq!(auto.names, ["gw.example.org"]);
    assert_eq!((auto.email.as_deref(), &auto.ca, auto.challenge), (None, &None, Challenge::TlsAlpn01));
    assert_eq!(auto.directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!((&*auto.place, &auto.state_place), ("server.listen[0].tls.auto", &None));
    let file = "/var/lib/evenkeel/acme/acme-v02.api.letsencrypt.org-directory/gw.example.org.pem";
    assert_eq!(auto.file(), PathBuf::from(file));
}

#[test]
fn each_key() {
    let auto = auto(
        "names: [a, b-1.example], email: ops@example.org, state: /s, directory: \"https://127.0.0.1:14000/dir\", ca: ca.pem, \
         challenge: http-01, terms_agreed: on",
    );
    assert_eq!(auto.names, ["a", "b-1.example"]);
    assert_eq!((auto.email.as_deref(), auto.ca), (Some("ops@example.org"), Some(PathBuf::from("ca.pem"))));
    assert_eq!(auto.state_place.as_deref(), Some("server.listen[0].tls.auto.state"));
    assert_eq!((auto.state, auto.challenge), (PathBuf::from("/s"), Challenge::Http01));
}

#[test]
fn beside_files_and_on_several_addresses() {
    let tls = "tls: { cert: c, key: k, auto: { names: [a], terms_agreed: true } }";
    let config = config(&format!("{{ address: 0.0.0.0:443, {tls} }}, {{ address: 0.0.0.0:8443, {tls} }}"));
    let [first, second] = &config.server.listen[..] else { panic!("two addresses") };
    let [first, second] = [first, second].map(|listener| listener.tls.as_ref().expect("TLS"));
    assert_eq!(first.certificates.len(), 1);
    let (first, second) = (first.auto.as_ref().expect("one"), second.auto.as_ref().expect("one"));
    assert!(first.is_same(second) && first.place != second.place);
}

const KEYS: Cases = &[
    (
        "names: [a]",
        &[
            "terms_agreed: must be true: the ACME server gives certificates only to those who have agreed to its terms of service",
        ],
    ),
    (
        "terms_agreed: true",
        &["names: is missing; list the names that clients use, such as `names: [gw.example.org]`"],
    ),
    ("names: [], terms_agreed: true", &["names: has no names; at least 1 is needed"]),
    (
        "names: [\"*.example.org\"], terms_agreed: true",
        &[
            "names[0]: `*.example.org` is a wildcard, for which an ACME server wants DNS-01, which the gateway does not do; list \
           each name, or name the files of such a certificate in `certificates`",
        ],
    ),
    ("names: [a, 10.0.0.1], terms_agreed: true", &["names[1]: `10.0.0.1` is an IP address; list names"]),
    ("names: [\"[::1]\"], terms_agreed: true", &["names[0]: `[::1]` is an IP address; list names"]),
    ("names: [a, A], terms_agreed: true", &["names[1]: `a` is listed twice"]),
    (
        "names: [../a], terms_agreed: true",
        &[
            "names[0]: `../a` is not a DNS name; use letters, digits, `-` and `.`, others in their `xn--` form",
        ],
    ),
    (
        "names: [a..b], terms_agreed: true",
        &[
            "names[0]: `a..b` is not a DNS name; use letters, digits, `-` and `.`, others in their `xn--` form",
        ],
    ),
    (
        "names: [a], terms_agreed: true, email: ops",
        &["email: `ops` is not an address of e-mail, such as ops@example.org"],
    ),
    (
        "names: [a], terms_agreed: true, directory: \"http://a/dir\"",
        &["directory: `http://a/dir` is not the https:// URL of an ACME server's directory, such as \
           https://acme-v02.api.letsencrypt.org/directory"],
    ),
    (
        "names: [a], terms_agreed: true, directory: \"https://u:secret@a/dir\"",
        &["directory: the URL is not the https:// URL of an ACME server's directory, such as \
           https://acme-v02.api.letsencrypt.org/directory"],
    ),
    (
        "names: [a], terms_agreed: true, challenge: dns-01",
        &["challenge: `dns-01` is not one of tls-alpn-01, http-01"],
    ),
    ("names: [a], terms_agreed: true, e_mail: a@b", &["e_mail: unknown key; did you mean `email`?"]),
];

#[test]
fn mistakes() {
    assert_refused(KEYS, "1: server.listen[0].tls.auto.", |keys| {
        text(&format!("{{ address: 0.0.0.0:443, tls: {{ auto: {{ {keys} }} }} }}"))
    });
}

#[test]
fn too_many_names() {
    let names: Vec<_> = (0..101).map(|number| format!("n{number}")).collect();
    let keys = format!("names: [{}], terms_agreed: true", names.join(", "));
    let problems =
        super::problems(&text(&format!("{{ address: 0.0.0.0:443, tls: {{ auto: {{ {keys} }} }} }}")));
    assert_eq!(problems, ["1: server.listen[0].tls.auto.names: has 101 names; at most 100 are allowed"]);
}

#[test]
fn two_certificates_with_one_file() {
    let one = |port, names: &str| {
        format!("{{ address: 0.0.0.0:{port}, tls: {{ auto: {{ names: [{names}], terms_agreed: true }} }} }}")
    };
    let problems = super::problems(&text(&format!("{}, {}", one(1, "a, b"), one(2, "a, c"))));
    assert_eq!(problems.len(), 1, "{problems:?}");
    let says = "1: server.listen[1]: `tls.auto` differs from that of server.listen[0].tls.auto, and begins with the same name";
    assert!(problems[0].starts_with(says), "{problems:?}");
    let admin = |names: &str| {
        let listen = one(1, "a, b");
        let tls = format!("{{ auto: {{ names: [{names}], terms_agreed: true }} }}");
        format!("server: {{ listen: [{listen}], admin: {{ address: 127.0.0.1:9, tls: {tls} }} }}\n{POOLS}")
    };
    let problems = super::problems(&admin("a"));
    assert!(
        problems.len() == 1 && problems[0].starts_with("1: server.admin: `tls.auto` differs"),
        "{problems:?}"
    );
    assert!(parse(&admin("a, b")).server.admin.tls.is_some_and(|tls| tls.auto.is_some()));
    let other = config(&format!("{}, {}", one(1, "a, b"), one(2, "c, a")));
    assert_eq!(other.server.listen.len(), 2);
}

#[test]
fn ports_that_the_server_asks_at() {
    let auto = |port, challenge| {
        let keys = format!("names: [a], terms_agreed: true, challenge: {challenge}");
        format!("{{ address: 0.0.0.0:{port}, tls: {{ auto: {{ {keys} }} }} }}")
    };
    let [alpn, http] = ["tls-alpn-01", "http-01"];
    for (listen, says) in [
        (auto(443, alpn), None),
        (auto(8443, alpn), Some("the ACME server asks at port 443 of each name; let that lead to")),
        (
            auto(443, http),
            Some(
                "port 80 of each name; let that lead to an address of the gateway without TLS, which has none yet",
            ),
        ),
        (format!("{}, 0.0.0.0:8080", auto(443, http)), Some("port 80 of each name")),
        (format!("{}, 0.0.0.0:80", auto(443, http)), None),
    ] {
        let notices = config(&listen).notices;
        match says {
            None => assert_eq!(notices, [""; 0], "{listen}"),
            Some(says) => {
                assert!(
                    notices.len() == 1 && notices[0].starts_with("t.yaml:1: server.listen: "),
                    "{notices:?}"
                );
                assert!(notices[0].contains(says), "{notices:?}");
            }
        }
    }
}
