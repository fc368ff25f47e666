//! Configs of other programs as they are in use, each with the config that it is translated into.
//!
//! The facts of their structure are those of public projects; names, addresses and words are not. `UPDATE=1` writes the results anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

const BINARY: &str = env!("CARGO_BIN_EXE_evenkeel");
/// Words that stand for secrets in the configs.
const SECRET: &str = "not-a-real";

/// Files of certificates, for configs that name some.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let mut params = CertificateParams::new(["ca.example.org".to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        let key = KeyPair::generate().expect("a key");
        let own = CertificateParams::new(["example.org".to_owned()]).expect("a name");
        let own = own.signed_by(&key, &issuer).expect("a certificate");
        for (name, text) in
            [("ca.pem", issuer.pem()), ("cert.pem", own.pem()), ("key.pem", key.serialize_pem())]
        {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The config with these files in place of those that it names.
    fn put_into(&self, yaml: &str) -> String {
        let line = |line: &str| {
            let mut last = "";
            let words = line.split(' ').map(|word| {
                let file = match last {
                    "cert:" => "cert.pem",
                    "key:" => "key.pem",
                    "ca:" | "client_ca:" => "ca.pem",
                    _ => "",
                };
                last = word;
                let path = self.file(file).display().to_string();
                if file.is_empty() {
                    word.to_owned()
                } else if word.ends_with(',') {
                    path + ","
                } else {
                    path
                }
            });
            words.collect::<Vec<_>>().join(" ")
        };
        yaml.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    fn evenkeel(&self, folder: &Path, args: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        // the authorities of the system, for nodes with https://
        command.env("SSL_CERT_FILE", self.file("ca.pem")).env_remove("SSL_CERT_DIR");
        command.current_dir(folder).args(args).output().expect("the binary starts")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import").join(name)
}

/// Imports every file of the folder with this extension, and compares the results with those beside them.
fn snapshots(program: &str, extension: &str, at_least: usize) {
    let folder = folder(program);
    let certificates = Certificates::new();
    let mut files: Vec<_> =
        fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    assert!(files.len() >= at_least, "only {} configs", files.len());
    let mut wrong = Vec::new();
    for path in &files {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
        let output = certificates.evenkeel(&folder, &["import", program, name]);
        let (yaml, notes) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{name}: {notes}");
        assert!(!yaml.contains(SECRET) && !notes.contains(SECRET), "{name}: a secret is copied");
        assert!(
            fs::read_to_string(path).expect("a file").starts_with("# "),
            "{name}: its first line says whose it is like"
        );
        let checked = certificates.file("evenkeel.yaml");
        fs::write(&checked, certificates.put_into(&yaml)).expect("a file");
        let check = certificates.evenkeel(&folder, &["check", "-c", checked.to_str().expect("a plain path")]);
        assert!(check.status.success(), "{name}: {}\n{yaml}", text(&check.stderr));
        let expected = path.with_extension("yaml");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &yaml).expect("a file");
        } else if fs::read_to_string(&expected).unwrap_or_default() != yaml {
            wrong.push(format!("{}:\n{yaml}", expected.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\nUPDATE=1 writes them anew", wrong.join("\n"));
}

#[test]
fn nginx() {
    snapshots("nginx", "conf", 20);
}

#[test]
fn haproxy() {
    snapshots("haproxy", "cfg", 6);
}

#[test]
fn litellm() {
    snapshots("litellm", "yml", 6);
}
