//! Tests of certificates in the state folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::config::{Challenge, Config};
use crate::tls::Listeners;

const DAY: Duration = Duration::from_hours(24);

fn conf(state: &Path, names: &[&str]) -> config::Auto {
    config::Auto {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        email: None,
        state: state.to_owned(),
        directory: "https://acme.example:14000/dir".to_owned(),
        ca: None,
        challenge: Challenge::TlsAlpn01,
        place: "server.listen.tls.auto".to_owned(),
        state_place: Some("server.listen.tls.auto.state".to_owned()),
    }
}

fn pem(names: &[&str], from: SystemTime, until: SystemTime) -> String {
    let key = KeyPair::generate().expect("a key");
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    (params.not_before, params.not_after) = (from.into(), until.into());
    key.serialize_pem() + &params.self_signed(&key).expect("a certificate").pem()
}

/// A time without parts of a second, as certificates have it.
fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn is_pending(auto: &Auto) -> bool {
    auto.certificate().renewal.expect("by itself").is_pending
}

#[test]
fn a_certificate_comes_back_from_the_folder() {
    let (dir, now) = (TempDir::new().expect("a folder"), now());
    let conf = conf(&dir.path().join("state"), &["a.example", "b.example"]);
    let auto = Auto::load(&conf, now).expect("it is made later");
    assert!(is_pending(&auto) && auto.validity().is_none());
    assert_eq!(auto.certificate().names, conf.names, "the stand-in has the names");
    assert!(!conf.state.exists(), "looking changes nothing");

    let first = pem(&["b.example", "a.example"], now - DAY, now + DAY * 89);
    auto.install(auto.check(first.as_bytes(), now).expect("it is good"));
    folder::write(&conf.file(), first.as_bytes()).expect("it is written");
    folder::write(&folder::account_file(&conf), b"{}").expect("it is written");
    assert_eq!(auto.validity(), Some(Validity { from: now - DAY, until: now + DAY * 89 }));
    assert!(!is_pending(&auto));
    assert_eq!(conf.file(), conf.state.join("acme.example-14000-dir/a.example.pem"));
    assert_eq!([&conf.state, &conf.folder()].map(|folder| mode(folder)), [0o700; 2]);
    assert_eq!([conf.file(), folder::account_file(&conf)].map(|file| mode(&file)), [0o600; 2]);
    assert_eq!(fs::read_dir(conf.folder()).expect("a folder").count(), 2, "nothing else is left");

    let again = Auto::load(&conf, now + DAY).expect("it is good");
    assert_eq!(again.certificate(), auto.certificate());
    let old = Auto::load(&conf, now + DAY * 90).expect("an old one is better than none");
    assert_eq!(old.validity(), auto.validity());

    let second = pem(&["a.example", "b.example"], now, now + DAY * 90);
    folder::write(&conf.file(), second.as_bytes()).expect("it is written");
    assert!(again.reread(now), "by another gateway");
    assert_eq!(again.validity(), Some(Validity { from: now, until: now + DAY * 90 }));
    folder::write(&conf.file(), first.as_bytes()).expect("it is written");
    assert!(!again.reread(now), "no step back");
    assert_eq!(again.validity(), Some(Validity { from: now, until: now + DAY * 90 }));
}

#[test]
fn a_certificate_for_fewer_names_is_served_and_is_not_enough() {
    let (dir, now) = (TempDir::new().expect("a folder"), now());
    let fewer = conf(dir.path(), &["a.example"]);
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).expect("own folder");
    folder::write(&fewer.file(), pem(&["a.example"], now, now + DAY).as_bytes()).expect("it is written");
    let auto = Auto::load(&conf(dir.path(), &["a.example", "b.example"]), now).expect("it is good");
    assert!(!is_pending(&auto) && auto.validity().is_none());
    let other = auto.check(pem(&["a.example"], now, now + DAY).as_bytes(), now);
    assert_eq!(other.err(), Some("the certificate is not for all names that were asked for".to_owned()));
}

#[test]
fn what_cannot_be_used_is_told_with_its_place() {
    let (dir, now) = (TempDir::new().expect("a folder"), now());
    let state = dir.path().join("state");
    let conf = conf(&state, &["a.example"]);
    let good = pem(&["a.example"], now, now + DAY);
    let other_key = KeyPair::generate().expect("a key").serialize_pem();
    let certificate = good.split_once("-----BEGIN CERTIFICATE").map(|(_, rest)| rest).expect("a chain");
    let mismatch = format!("{other_key}-----BEGIN CERTIFICATE{certificate}");
    let early = pem(&["a.example"], now + DAY, now + DAY * 2);
    for (content, says) in [
        ("", "has no private key in PEM form"),
        (other_key.as_str(), "has no certificate in PEM form"),
        (mismatch.as_str(), "do not belong together"),
        (early.as_str(), "not valid yet; is the clock right?"),
    ] {
        folder::write(&conf.file(), content.as_bytes()).expect("it is written");
        let faults = Auto::load(&conf, now).expect_err("of no use");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].0, "server.listen.tls.auto.state");
        assert!(faults[0].1.contains(says) && faults[0].1.contains("remove the file"), "{faults:?}");
    }
    folder::write(&conf.file(), good.as_bytes()).expect("it is written");
    Auto::load(&conf, now).expect("it is good");
    for (path, open, closed) in
        [(&state, 0o750, 0o700), (&conf.folder(), 0o701, 0o700), (&conf.file(), 0o640, 0o600)]
    {
        fs::set_permissions(path, Permissions::from_mode(open)).expect("own file");
        let faults = Auto::load(&conf, now).expect_err("open to others");
        let says = format!("is open to others (mode {open:o}): `chmod {closed:o} {}`", path.display());
        assert!(faults.len() == 1 && faults[0].1.contains(&says), "{faults:?}");
        fs::set_permissions(path, Permissions::from_mode(closed)).expect("own file");
    }
    let missing = config::Auto { ca: Some(dir.path().join("no.pem")), ..conf.clone() };
    let faults = Auto::load(&missing, now).expect_err("there is no such file");
    assert_eq!(faults[0].0, "server.listen.tls.auto.ca");
    let file = config::Auto { state: conf.file(), ..conf };
    let faults = Auto::load(&file, now).expect_err("a file is no folder");
    assert!(faults[0].1.contains("is not a folder"), "{faults:?}");
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let dir = TempDir::new().expect("a folder");
    let file = dir.path().join("a.pem");
    folder::write(&file, b"old").expect("it is written");
    fs::create_dir(dir.path().join(".a.pem.new")).expect("own folder");
    // a folder where the file is to go: the rename fails
    let taken = dir.path().join("taken");
    fs::create_dir(&taken).expect("own folder");
    folder::write(&taken, b"new").expect_err("it is a folder");
    assert_eq!(fs::read(&file).expect("it is there"), b"old");
    let left: Vec<_> =
        fs::read_dir(dir.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 3, "nothing half-written is left: {left:?}");
}

#[test]
fn a_reload_keeps_one_that_could_not_be_kept_in_the_folder() {
    let (dir, now) = (TempDir::new().expect("a folder"), now());
    let conf = |names: &str| {
        let auto =
            format!("{{ names: [{names}], terms_agreed: true, state: {:?} }}", dir.path().join("state"));
        let listen = format!("[{{ address: 127.0.0.1:443, tls: {{ auto: {auto} }} }}]");
        let text = format!("server: {{ listen: {listen} }}\npools: {{ a: {{ nodes: [n:80] }} }}\n");
        Config::parse(&text, "t").unwrap_or_else(|problems| panic!("{problems}"))
    };
    let first = Listeners::load(&conf("a.example"), now).expect("a stand-in");
    let auto = &first.autos()[0];
    let unkept = pem(&["a.example"], now - DAY, now + DAY * 89);
    auto.install(auto.check(unkept.as_bytes(), now).expect("it is good"));

    let second = first.next(&conf("a.example"), now).expect("the same");
    assert_eq!(second.autos()[0].validity(), auto.validity());
    let other = second.next(&conf("b.example"), now).expect("another");
    assert!(is_pending(&other.autos()[0]));

    let better = pem(&["a.example"], now, now + DAY * 90);
    folder::write(&auto.conf().file(), better.as_bytes()).expect("it is written");
    let third = second.next(&conf("a.example"), now).expect("the same");
    let from_folder = Some(Validity { from: now, until: now + DAY * 90 });
    assert_eq!(third.autos()[0].validity(), from_folder, "one in the folder is good for longer");
    fs::write(auto.conf().file(), "no PEM").expect("it is written");
    assert!(third.next(&conf("a.example"), now).is_err(), "problems are told all the same");
}
