//! `evenkeel key new`, `list` and `revoke`: the file of clients' keys (`server.api_keys.file`).

mod edit;
mod file;
mod list;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Subcommand;

use self::edit::{Kept, Written};
use self::file::KeyFile;
use super::check::refused;
use crate::config::{ApiKey, Config, Problems, SecretHash, duration_of, expiry};
use crate::keys;

const AFTER_HELP: &str = "\
Examples:
  evenkeel key new alice                                Print a new key, once: its hash alone is kept
  evenkeel key new job --models 'Qwen/*' --class batch --max-in-flight 64 --expires 30d
  evenkeel key new ci --requests-per-minute 600 --tokens-per-minute 200000
  evenkeel key list                                     Names, limits and expiry
  evenkeel key revoke alice                             Refuse the key from now on; its open requests end well

The file is that of server.api_keys.file in the config, or --file. A gateway that runs reads it again within two seconds.
Exit codes: 0 done, 1 refused or not written, 2 unknown argument, 64 unusable config or file of keys";

/// Make, list and revoke the keys of clients
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(NewArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// The file that has the keys.
#[derive(Debug, clap::Args)]
struct FileArg {
    /// Read the path of the file of keys from this config
    #[arg(short, long, value_name = "FILE", default_value = "/etc/evenkeel/evenkeel.yaml")]
    config: PathBuf,
    /// Use this file of keys, whatever a config says
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
}

/// Print a new key, and write its hash into the file
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
struct NewArgs {
    /// The owner's name; logs, metrics and the status show it
    name: String,
    /// Models that it is for, comma-separated; `*` stands for any characters [default: any]
    #[arg(long, value_name = "MODELS", value_delimiter = ',')]
    models: Vec<String>,
    /// The highest class of its requests: interactive, normal or batch [default: as without a key]
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// The most requests at one time, 1 to 1048576 [default: no limit]
    #[arg(long, value_name = "COUNT")]
    max_in_flight: Option<u64>,
    /// The most requests a minute [default: no limit]
    #[arg(long, value_name = "COUNT")]
    requests_per_minute: Option<u64>,
    /// The most tokens a minute, of prompts and answers together [default: no limit]
    #[arg(long, value_name = "COUNT")]
    tokens_per_minute: Option<u64>,
    /// Refuse it from then on: in 30d, 12h ..., or at 2027-01-01 or 2027-01-01T00:00:00Z [default: never]
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    #[command(flatten)]
    file: FileArg,
}

/// List the keys: names, limits and expiry
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
struct ListArgs {
    /// Write JSON: an array of objects
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: FileArg,
}

/// Take a key out of the file
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
struct RevokeArgs {
    /// The name of the key
    name: String,
    #[command(flatten)]
    file: FileArg,
}

/// The reason that a command has done nothing.
enum Failed {
    Unusable(Problems),
    Refused(String),
}

impl From<Problems> for Failed {
    fn from(problems: Problems) -> Self {
        Self::Unusable(problems)
    }
}

/// Exits with 0 if it is done.
pub fn run(args: &KeyArgs) -> ExitCode {
    let done = match &args.command {
        Command::New(args) => new(args),
        Command::List(args) => list(args),
        Command::Revoke(args) => revoke(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Unusable(problems)) => refused(&problems),
        Err(Failed::Refused(message)) => {
            eprintln!("evenkeel: {message}");
            ExitCode::FAILURE
        }
    }
}

fn path(arg: &FileArg) -> Result<PathBuf, Failed> {
    if let Some(file) = &arg.file {
        return Ok(file.clone());
    }
    let config = Config::load(&arg.config)?;
    config.server.api_keys.map(|keys| keys.file).ok_or_else(|| {
        let config = arg.config.display();
        Failed::Refused(format!(
            "{config} asks for no keys; add `api_keys: {{ file: keys.yaml }}` under `server`, or use --file"
        ))
    })
}

fn new(args: &NewArgs) -> Result<(), Failed> {
    let expires = args.expires.as_deref().map(|text| expires(text, SystemTime::now())).transpose();
    let expires = expires.map_err(|message| Failed::Refused(format!("--expires {message}")))?;
    let token =
        keys::token(random().map_err(|error| Failed::Refused(format!("no random numbers: {error}")))?);
    let hash = SecretHash::of(token.as_bytes());
    let wanted = edit::Wanted {
        name: &args.name,
        hash,
        models: &args.models,
        class: args.class.as_deref(),
        max_in_flight: args.max_in_flight,
        requests_per_minute: args.requests_per_minute,
        tokens_per_minute: args.tokens_per_minute,
        expires,
    };
    // the schema of the file checks the arguments too
    let key = ApiKey::parse(&format!("keys: [{}]\n", wanted.entry()), "arguments")
        .map_err(|problems| Failed::Refused(arguments(&problems)))?
        .remove(0);
    let path = path(&args.file)?;
    let file = KeyFile::open(&path).map_err(|error| not_written(&path, &error))?;
    let (text, old) = file.read()?;
    if old.iter().any(|other| other.name == key.name) {
        let path = path.display();
        return Err(Failed::Refused(format!(
            "{path} has a key of this name; revoke it first, or take another"
        )));
    }
    save(&file, &path, edit::with(&text, &old, key))?;
    eprintln!(
        "{}: the key of {} follows; it is shown this once, and kept nowhere",
        path.display(),
        args.name
    );
    println!("{token}");
    Ok(())
}

fn list(args: &ListArgs) -> Result<(), Failed> {
    let keys = ApiKey::load(&path(&args.file)?)?;
    if args.json {
        println!("{}", list::json(&keys, SystemTime::now()));
    } else {
        print!("{}", list::table(&keys, SystemTime::now()));
    }
    Ok(())
}

fn revoke(args: &RevokeArgs) -> Result<(), Failed> {
    let path = path(&args.file)?;
    let file = KeyFile::open(&path).map_err(|error| not_written(&path, &error))?;
    let (text, old) = file.read()?;
    let Some(place) = old.iter().position(|key| *key.name == *args.name) else {
        let message = format!("{} has no key of this name; `evenkeel key list` names them", path.display());
        return Err(Failed::Refused(message));
    };
    save(&file, &path, edit::without(&text, &old, place))?;
    eprintln!("{}: the key of {} is revoked", path.display(), args.name);
    Ok(())
}

fn save(file: &KeyFile, path: &Path, written: Written) -> Result<(), Failed> {
    file.write(&written.text).map_err(|error| not_written(path, &error))?;
    if written.kept == Kept::Beginning {
        eprintln!("{}: written anew: comments between keys could not be kept", path.display());
    }
    Ok(())
}

fn not_written(path: &Path, error: &std::io::Error) -> Failed {
    Failed::Refused(format!("{}: cannot be written: {error}", path.display()))
}

fn arguments(problems: &Problems) -> String {
    let told = problems.list.iter().map(|problem| {
        let key = problem.path.rsplit('.').next().unwrap_or_default();
        format!("{}: {}", key.replace('_', "-"), problem.message)
    });
    told.collect::<Vec<_>>().join("; ")
}

/// A span from now on, or a point in time.
fn expires(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    let span = duration_of(text).ok().filter(|span: &Duration| !span.is_zero());
    match span {
        Some(span) => now.checked_add(span).ok_or_else(|| "is too far away".to_owned()),
        None => expiry(text).map_err(|message| format!("{message}, or a span such as 30d")),
    }
}

/// Random bytes of the system.
fn random() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
