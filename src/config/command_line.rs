//! The command line: `larder [FILE] [--directive value ...]`.
//!
//! Every directive can be given as an option, and its value may span several arguments, up to the next `--`. So the
//! options are lines of a configuration file that is read last. `clap` recognizes and prints help and version; it
//! does not know the directives, which would be a second table.

use std::collections::BTreeSet;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};

use super::error::{ConfigError, LATER, Source, Warning};
use super::file::{self, Line};
use super::settings::Settings;
use super::table;
use super::value::{self, Kind};

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Run the server.
    Serve {
        /// With these settings.
        settings: Box<Settings>,
        /// Directives that were given and have no effect, or none yet, each named once.
        warnings: Vec<Warning>,
    },
    /// Print this text (help or version) and end.
    Print(String),
}

const USAGE: &str = "larder [FILE] [--directive value ...]";

const ABOUT: &str = "Larder is a Redis-protocol cache that keeps more than fits in memory and survives restarts.\n\n\
    Values live in memory, spill to RocksDB when it runs short, and are logged and snapshotted without forking. \
    Any Redis client works; any redis.conf is understood.";

const HELP: &str = "\
FILE is a configuration file in the syntax of redis.conf; `-` reads it from standard input. Every directive can also be
given as an option, which then wins over the file: `--save 900 1` means the same as the line `save 900 1`.

The directives used most:
  --port 6379             TCP port; 0 for none
  --bind * -::*           addresses to listen on
  --unixsocket PATH       listen on a unix socket as well
  --requirepass PASSWORD  clients must authenticate; without it only this machine is served (protected-mode)
  --dir ./larder-data     data directory: log, snapshots, cold records
  --maxmemory 60%         memory to use: 4gb, 512mb, or a percentage of what the process may use
  --maxdisk unlimited     disk for cold records; 0 makes it a plain in-memory cache
  --maxmemory-policy noeviction
                          what may be removed when memory and disk budget are full
  --appendfsync everysec  sync the log: always, everysec, no
  --save 3600 1 300 100 60 10000
                          snapshot after so many seconds with so many changes
  --threads 0             threads that serve clients; 0 for one a core
  --loglevel notice       debug, verbose, notice, warning

Examples:
  larder
  larder /etc/larder.conf --port 7000
  larder --maxmemory 4gb --maxdisk 200gb --dir /srv/larder
  larder --maxdisk 0 --maxmemory 1gb --maxmemory-policy allkeys-lru --save '' --appendonly no

All directives with their defaults: docs/configuration.md. Running it: docs/OPERATING.md.
At run time: CONFIG GET, CONFIG SET, CONFIG REWRITE.";

/// Understands the command line, without the program's name.
pub fn parse_command_line(arguments: &[String]) -> Result<Invocation, ConfigError> {
    let version = Arg::new("version")
        .short('v')
        .short_alias('V')
        .long("version");
    let version = version.action(ArgAction::Version).help("Print the version");
    let command = Command::new("larder")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .override_usage(USAGE)
        .after_help(HELP)
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(
            Arg::new("help")
                .short('h')
                .long("help")
                .action(ArgAction::Help)
                .help("Print this"),
        )
        .arg(version)
        .arg(
            Arg::new("FILE and directives")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .hide(true),
        );
    if let Err(error) = command.try_get_matches_from(arguments) {
        return match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Invocation::Print(error.to_string()))
            }
            _ => Err(ConfigError::CommandLine(error.to_string())),
        };
    }
    let (settings, warnings) = load(arguments)?;
    Ok(Invocation::Serve {
        settings: Box::new(settings),
        warnings,
    })
}

/// Reads the file and the options.
pub fn load(arguments: &[String]) -> Result<(Settings, Vec<Warning>), ConfigError> {
    let (path, options) = match arguments.split_first() {
        Some((first, rest)) if first == "-" || !first.starts_with('-') => {
            (Some(first.as_str()), rest)
        }
        _ => (None, arguments),
    };
    let (from_input, options) = match options.split_last() {
        Some((last, rest)) if last == "-" && path != Some("-") => (true, rest),
        _ => (false, options),
    };
    let mut lines = Vec::new();
    if let Some(path) = path {
        lines.extend(file::read(path)?);
    }
    if from_input {
        lines.extend(file::read("-")?);
    }
    lines.extend(option_lines(options)?);
    let (mut settings, warnings) = apply(&lines)?;
    let file = path.filter(|path| *path != "-");
    settings.config_file = file.and_then(|path| std::path::absolute(path).ok());
    Ok((settings, warnings))
}

/// Turns `--name value ...` into lines.
fn option_lines(options: &[String]) -> Result<Vec<Line>, ConfigError> {
    let mut lines: Vec<Line> = Vec::new();
    for option in options {
        if let Some(name) = option.strip_prefix("--").filter(|name| !name.is_empty()) {
            lines.push(Line {
                source: Source::CommandLine,
                number: lines.len() + 1,
                text: option.clone(),
                name: name.to_owned(),
                arguments: Vec::new(),
            });
            continue;
        }
        let Some(line) = lines.last_mut() else {
            let text =
                format!("unexpected argument '{option}'\n\nUsage: {USAGE}\nSee larder --help.");
            return Err(ConfigError::CommandLine(text));
        };
        line.text.push_str(&format!(" {option}"));
        line.arguments.push(option.clone());
    }
    // As with Redis, `--save ''` and a bare `--save` both turn the rules off.
    for line in lines
        .iter_mut()
        .filter(|line| line.name == "save" && line.arguments.is_empty())
    {
        line.arguments.push(String::new());
    }
    Ok(lines)
}

/// Applies lines to the defaults, in their order.
pub(super) fn apply(lines: &[Line]) -> Result<(Settings, Vec<Warning>), ConfigError> {
    let mut settings = Settings::default();
    let mut warnings = Vec::new();
    let mut warned = BTreeSet::new();
    let mut save_seen = false;
    for line in lines {
        let directive = table::find(&line.name).filter(|_| !line.arguments.is_empty());
        let directive =
            directive.ok_or_else(|| line.refuse("Bad directive or wrong number of arguments"))?;
        match directive.kind {
            Kind::SaveRules => apply_save(&mut settings, line, &mut save_seen)?,
            _ => write_line(&mut settings, directive, line)?,
        }
        if let Some(reason) = without_effect(&settings, directive)
            && warned.insert(directive.name)
        {
            warnings.push(Warning {
                directive: line.name.clone(),
                reason,
            });
        }
    }
    Ok((settings, warnings))
}

/// Why it has no effect that this directive was set; `None` if it has one, or if nothing was asked for but the default.
fn without_effect(settings: &Settings, directive: &table::Directive) -> Option<&'static str> {
    if matches!(
        directive.kind,
        Kind::WithoutEffect | Kind::SizeWithoutEffect
    ) {
        return Some(directive.description);
    }
    let shown = |settings: &Settings| value::read(settings, directive);
    (directive.later && shown(settings) != shown(&Settings::default())).then_some(LATER)
}

fn write_line(
    settings: &mut Settings,
    directive: &table::Directive,
    line: &Line,
) -> Result<(), ConfigError> {
    // A value in one pair of quotes may hold several words, as in CONFIG SET.
    let arguments = match line.arguments.as_slice() {
        [one] if directive.takes_several() => value::words(one),
        several => several.to_vec(),
    };
    value::write(settings, directive, &arguments).map_err(|reason| line.refuse(reason))
}

/// Rules of several `save` lines add up, except that an empty one forgets those before it; the first replaces the
/// defaults.
fn apply_save(settings: &mut Settings, line: &Line, seen: &mut bool) -> Result<(), ConfigError> {
    let arguments = match line.arguments.as_slice() {
        [one] => value::words(one),
        several => several.to_vec(),
    };
    let rules = value::parse_save_rules(&arguments).map_err(|reason| line.refuse(reason))?;
    if !*seen || rules.is_empty() {
        settings.save.clear();
    }
    settings.save.extend(rules);
    *seen = true;
    Ok(())
}

#[cfg(test)]
#[path = "command_line_tests.rs"]
mod tests;
