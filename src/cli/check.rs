//! `evenkeel check`: reports every problem of a config file. Ports and log files are tried only by `run`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use crate::config::{ApiKey, Config, FoundNode, Problems, Source, located};
use crate::material::Material;

/// Exit code for faulty input: `EX_USAGE` of sysexits.
pub const EXIT_BAD_CONFIG: u8 = 64;

/// The option shared by all commands that read a config.
#[derive(Debug, clap::Args)]
pub struct ConfigArg {
    /// Read the config from this file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/evenkeel/evenkeel.yaml")]
    pub config: PathBuf,
}

const AFTER_HELP: &str = "\
Example:
  evenkeel check -c evenkeel.yaml && kill -HUP \"$(pidof evenkeel)\"

Exit codes: 0 valid file, 2 unknown argument, 64 invalid file (the problems are on standard error)";

/// Check a config file and report every problem
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArg,
}

/// Exits with 0 if the file is valid, otherwise with 64 and all problems on standard error.
pub fn run(args: &CheckArgs) -> ExitCode {
    let path = &args.config.config;
    match load(path) {
        Ok(config) => {
            config.notices.iter().for_each(|notice| println!("{notice}"));
            println!("{}: ok: {}", path.display(), summary(&config));
            ExitCode::SUCCESS
        }
        Err(problems) => refused(&problems),
    }
}

/// A config, after a look into the files that it names.
fn load(path: &Path) -> Result<Config, Problems> {
    let config = Config::load(path)?;
    if let Some(keys) = &config.server.api_keys {
        ApiKey::load(&keys.file)?;
    }
    for pool in &config.pools {
        for source in &pool.sources {
            // one that is not there yet may come later
            if let Source::File(file) = source
                && file.path.exists()
            {
                FoundNode::load(&file.path, pool)?;
            }
        }
    }
    let material = Material::load(&config, SystemTime::now());
    material.map(|_| config).map_err(|faults| located(path, faults))
}

/// Reports an invalid config, in the same way for every command that reads one.
pub fn refused(problems: &Problems) -> ExitCode {
    eprintln!("{problems}");
    ExitCode::from(EXIT_BAD_CONFIG)
}

fn summary(config: &Config) -> String {
    let nodes = config.pools.iter().map(|pool| pool.nodes.len()).sum();
    let sources: usize = config.pools.iter().map(|pool| pool.sources.len()).sum();
    let more = if sources > 0 { format!(", {} of nodes", counted(sources, "source")) } else { String::new() };
    format!("{}, {}{more}", counted(config.pools.len(), "pool"), counted(nodes, "node"))
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::{counted, summary};
    use crate::config::Config;

    #[test]
    fn a_valid_file_is_summarised() {
        let text = "server: { listen: 127.0.0.1:1 }\npools: { a: { nodes: [b:1, b:2] } }";
        let config = Config::parse(text, "a.yaml").expect("a valid config");
        assert_eq!(summary(&config), "1 pool, 2 nodes");
        assert_eq!(counted(0, "node"), "0 nodes");
    }
}
