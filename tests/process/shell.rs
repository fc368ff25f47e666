//! Tests of the man pages and of the completions, with the programs that read them.

use std::fs;
use std::process::Command;

use crate::support::process::{BINARY, Process};

/// Runs it and returns what it printed and what it complained about; `None`: it is not here, and need not be.
fn run(command: &mut Command) -> Option<(String, String)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{name}: {error}: .ci/bootstrap {name} brings it");
            eprintln!("no {name} here: .ci/bootstrap {name} brings it");
            return None;
        }
    };
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{name}: {}: {err}", output.status);
    Some((out, err))
}

#[test]
fn man_shows_each_page_without_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("man1");
    let (code, out, err) = Process::output(&["man", "--output", pages.to_str().expect("plain text")]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
    let names = fs::read_dir(&pages).expect("a folder").map(|entry| entry.expect("an entry").path());
    let names: Vec<_> = names.collect();
    assert!(names.len() >= 12, "{names:?}");
    let mut run_page = String::new();
    for page in &names {
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l"])
            .arg(page)
            .env("MANWIDTH", "100")
            .env("LC_ALL", "C.UTF-8");
        let Some((text, warnings)) = run(&mut man) else { return };
        assert_eq!(warnings, "", "{}", page.display());
        if page.ends_with("evenkeel-run.1") {
            run_page = text;
        }
    }
    for words in ["SIGNALS", "SIGUSR2", "--upgrade-sock", "EXIT STATUS", "evenkeel run -c evenkeel.yaml"] {
        assert!(run_page.contains(words), "{words} is not in\n{run_page}");
    }
    assert!(!run_page.contains("--detach"), "{run_page}");
    let (code, page, _) = Process::output(&["man"]);
    assert_eq!(code, 0);
    assert_eq!(
        page,
        fs::read_to_string(pages.join("evenkeel.1")).expect("its page"),
        "the same without a folder"
    );
}

/// The words that bash offers for the last one of a line.
fn completed(words: &[&str]) -> Vec<String> {
    let script = format!(
        r#"set -eu
        source <({BINARY} completions bash)
        function=$(complete -p evenkeel | sed 's/.*-F \([^ ]*\).*/\1/')
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${{#COMP_LINE}}
        "$function" evenkeel "${{!#}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
        printf '%s\n' "${{COMPREPLY[@]}}""#
    );
    let mut bash = Command::new("bash");
    let (out, err) = run(bash.args(["-c", &script, "bash"]).args(words)).expect("bash is everywhere");
    assert_eq!(err, "");
    out.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    assert_eq!(completed(&["evenkeel", "che"]), ["check"]);
    assert_eq!(completed(&["evenkeel", "check", "--con"]), ["--config"]);
    assert_eq!(completed(&["evenkeel", "key", "rev"]), ["revoke"]);
    assert_eq!(completed(&["evenkeel", "run", "--upgrade"]), ["--upgrade", "--upgrade-sock"]);
}

#[test]
fn each_shell_gets_completions_and_an_unknown_one_a_list_of_them() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, err) = Process::output(&["completions", shell]);
        assert!(code == 0 && out.contains("undrain") && err.is_empty(), "{shell}: {code} {err}");
    }
    let (code, _, err) = Process::output(&["completions", "sh"]);
    assert_eq!(code, 2);
    assert!(err.contains("[possible values: bash, elvish, fish, powershell, zsh]"), "{err}");
}
