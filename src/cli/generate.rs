//! `evenkeel man` and `evenkeel completions`: the man pages and the completions of shells, made from the command line's own description.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use super::roff;

const FILES: &str = "\
Files:
  /etc/evenkeel/evenkeel.yaml  The config of `evenkeel run`. conf/evenkeel.yaml of the sources, in packages the same file, explains every key";

const AFTER_MAN_HELP: &str = "\
Example:
  evenkeel man --output /usr/local/share/man/man1

Exit codes: 0 written, 1 cannot write, 2 unknown argument";

/// Print the man page, or write the pages of all commands
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_MAN_HELP)]
pub struct ManArgs {
    /// Write one page for each command into this folder, which is made if it is missing
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

const AFTER_COMPLETIONS_HELP: &str = "\
Examples:
  source <(evenkeel completions bash)                           Complete in this shell
  evenkeel completions fish > ~/.config/fish/completions/evenkeel.fish

Exit codes: 0 written, 1 cannot write, 2 unknown shell";

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_COMPLETIONS_HELP)]
pub struct CompletionsArgs {
    /// The shell: bash, zsh, fish, elvish or powershell
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    shell: Shell,
}

pub(super) fn man(args: &ManArgs, command: Command) -> ExitCode {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    told(match &args.output {
        Some(folder) => fs::create_dir_all(folder).and_then(|()| pages(&command, &command, folder)),
        None => page(&command, &command).and_then(|page| io::stdout().write_all(&page)),
    })
}

pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "evenkeel", &mut script);
    told(io::stdout().write_all(&script))
}

fn told(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("evenkeel: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the page of a command and those of its own commands.
fn pages(command: &Command, whole: &Command, folder: &Path) -> io::Result<()> {
    let path = folder.join(Man::new(command.clone()).get_filename());
    let error = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    fs::write(&path, page(command, whole)?).map_err(error)?;
    shown(command).try_for_each(|command| pages(command, whole, folder))
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

/// The page of one command. `whole`: the command line that it is part of.
fn page(command: &Command, whole: &Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let version = format!("evenkeel {}", env!("CARGO_PKG_VERSION"));
    // a date would make two builds of one version differ
    let man = Man::new(command.clone()).source(version).manual("Evenkeel").date("");
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if shown(command).next().is_some() {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(help) = command.get_after_help() {
        text.extend(roff::sections(&help.to_string()).into_bytes());
    }
    let is_whole = command.get_display_name() == whole.get_display_name();
    let others: Vec<_> = if is_whole {
        text.extend(roff::sections(FILES).into_bytes());
        shown(command).map(|command| command.get_display_name().unwrap_or_default()).collect()
    } else {
        vec![whole.get_name()]
    };
    text.extend(roff::see_also(&others).into_bytes());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    #[test]
    fn each_command_that_is_shown_has_a_page() {
        let hidden = Command::new("hidden").hide(true);
        let key = Command::new("key").subcommand(Command::new("new").arg(Arg::new("name")));
        let mut whole = Command::new("evenkeel").about("A gateway").subcommands([key, hidden]);
        whole.build();
        let folder = tempfile::tempdir().expect("a folder");
        pages(&whole, &whole, folder.path()).expect("written");
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("plain text"))
            .collect();
        names.sort();
        names.retain(|name| !name.contains("help"));
        assert_eq!(names, ["evenkeel-key-new.1", "evenkeel-key.1", "evenkeel.1"]);
    }
}
