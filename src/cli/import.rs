//! `evenkeel import`: translates a config of another program.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Subcommand;

use crate::config::{Config, Problems, read_file};
use crate::import::{self, Import, Refusal, SourceFile, grouped};
use crate::material::Material;

/// The largest file, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Most files that one `include` means.
const MATCHES_MAX: usize = 512;
/// The name for standard input.
const STDIN: &str = "-";

const AFTER_HELP: &str = "\
Examples:
  evenkeel import nginx /etc/nginx/nginx.conf                     Print the config; notes go to standard error
  evenkeel import nginx /etc/nginx/nginx.conf -o evenkeel.yaml    Write it to a new file
  nginx -T | evenkeel import nginx -                              Translate the config that nginx itself has found
  evenkeel import haproxy /etc/haproxy/haproxy.cfg                The same for a config of HAProxy
  evenkeel import litellm config.yaml                             The same for one of LiteLLM's proxy

Each setting has a comment with the line that it comes from. The notes are warnings of what works differently, what was not
translated and why, and what is not needed; they are at the head of the config, too. What comes out passes `evenkeel check`,
but for files of certificates that are not there. Keys and passwords are not copied.
Exit codes: 0 translated, 1 unreadable, not translatable or not written, 2 unknown argument";

/// Translate the config of another program
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// A config of nginx, or a part of one that has an upstream or a server; `include` is followed
    Nginx(FileArgs),
    /// A config of HAProxy: frontend, backend, listen and defaults
    Haproxy(FileArgs),
    /// The config.yaml of LiteLLM's proxy: its servers of your own, not the services of providers
    Litellm(FileArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
struct FileArgs {
    /// The file to translate; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the config to this file, which must not be there yet [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Exits with 0 if a config has been written.
pub fn run(args: &ImportArgs) -> ExitCode {
    let (From::Nginx(file) | From::Haproxy(file) | From::Litellm(file)) = &args.from;
    let done = source(&file.file).and_then(|source| {
        let folder = file.file.parent().unwrap_or(Path::new(""));
        let import = match &args.from {
            From::Nginx(_) => import::nginx(&source, &|pattern| included(folder, pattern), &check),
            From::Haproxy(_) => import::haproxy(&source, &check),
            From::Litellm(_) => import::litellm(&source, &check),
        };
        write(import, file.output.as_deref())
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("evenkeel: {message}");
            ExitCode::FAILURE
        }
    }
}

/// As `evenkeel check` does, but for the content of certificates.
fn check(text: &str) -> Result<(), Problems> {
    Config::parse_here(text, "imported").map(|_| ())
}

fn source(path: &Path) -> Result<SourceFile, String> {
    if path != Path::new(STDIN) {
        return file(path);
    }
    let mut bytes = Vec::new();
    let read = io::stdin().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("standard input cannot be read: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("standard input is larger than {}MiB", FILE_BYTES_MAX >> 20));
    }
    Ok(SourceFile { name: "stdin".to_owned(), text: String::from_utf8_lossy(&bytes).into_owned() })
}

fn file(path: &Path) -> Result<SourceFile, String> {
    let name = path.display().to_string();
    let bytes =
        read_file(path, FILE_BYTES_MAX).map_err(|error| format!("{name}: cannot be read: {error}"))?;
    Ok(SourceFile { name, text: String::from_utf8_lossy(&bytes).into_owned() })
}

/// The files that an `include` means, in nginx's order: by name.
fn included(folder: &Path, pattern: &str) -> Result<Vec<SourceFile>, String> {
    if pattern.contains("**") {
        return Err("`**` would search all folders".to_owned());
    }
    let whole = folder.join(pattern);
    let whole = whole.to_str().ok_or("its path is not UTF-8")?;
    let found = glob::glob(whole).map_err(|error| error.to_string())?;
    let mut sources = Vec::new();
    for path in found {
        if sources.len() == MATCHES_MAX {
            return Err(format!("it means more than {MATCHES_MAX} files"));
        }
        sources.push(file(&path.map_err(|error| error.to_string())?)?);
    }
    Ok(sources)
}

/// The certificates that the config names and that are not there, or no good.
fn absent(yaml: &str) -> Vec<String> {
    let Ok(config) = Config::parse_here(yaml, "imported") else { return Vec::new() };
    let faults = Material::load(&config, SystemTime::now()).err().unwrap_or_default();
    faults.into_iter().map(|(path, fault)| format!("{path}: {fault}")).collect()
}

/// Prints the notes, and writes the config.
fn write(import: Result<Import, Refusal>, output: Option<&Path>) -> Result<(), String> {
    let notes = match &import {
        Ok(import) => &import.notes,
        Err(refusal) => &refusal.notes,
    };
    for (kind, places, told) in grouped(notes) {
        let label = kind.label();
        if places.is_empty() { eprintln!("{label}: {told}") } else { eprintln!("{places}: {label}: {told}") }
    }
    let import = import.map_err(|refusal| refusal.to_string())?;
    absent(&import.yaml).iter().for_each(|file| eprintln!("warning: {file}; `evenkeel check` wants it"));
    let written = match output {
        None => io::stdout().write_all(import.yaml.as_bytes()),
        Some(path) => File::create_new(path).and_then(|mut file| file.write_all(import.yaml.as_bytes())),
    };
    written.map_err(|error| match output {
        Some(path) if error.kind() == io::ErrorKind::AlreadyExists => {
            format!("{} is there already, and is not overwritten", path.display())
        }
        Some(path) => format!("{}: cannot be written: {error}", path.display()),
        None => format!("standard output cannot be written: {error}"),
    })
}
