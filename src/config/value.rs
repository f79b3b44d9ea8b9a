//! Reading and writing the value of one directive: text on one side, a field of [`Settings`] on the other.
//!
//! Error texts are Redis's, so that scripts which look for them find them.

use std::path::{Path, PathBuf};

use super::memory;
use super::settings::{OutputLimit, SaveRule, Settings};
use super::table::Directive;
use crate::event_classes::EventClasses;
use crate::resp::number;

/// Gives a field of the settings.
pub type Field<T> = fn(&mut Settings) -> &mut T;

/// What kind of value a directive takes, and the field it is kept in.
pub enum Kind {
    /// `yes` or `no`.
    Boolean(Field<bool>),
    /// A port number.
    Port(Field<u16>),
    /// A number from .. to.
    Number(Field<u64>, u64, u64),
    /// A number that may be negative, from .. to.
    Signed(Field<i64>, i64, i64),
    /// An amount of memory, at least so many bytes.
    Bytes(Field<u64>, u64),
    /// An amount of memory, also as a percentage of what the process may use.
    BytesOrPercent(Field<u64>),
    /// An amount of memory, or `unlimited`.
    BytesOrUnlimited(Field<Option<u64>>),
    /// File permissions.
    Octal(Field<u64>),
    /// Any text.
    Text(Field<String>),
    /// A path; made absolute when it is read.
    Path(Field<PathBuf>),
    /// Several lines of several words; each time it is written adds one.
    Lines(Field<Vec<Vec<String>>>),
    /// Numbers from 0 to 100.
    Percentiles,
    /// Several words.
    Words(Field<Vec<String>>),
    /// One of some names: the names, the index of the current one, setting it.
    Choice(
        &'static [&'static str],
        fn(&Settings) -> usize,
        fn(&mut Settings, usize),
    ),
    /// The rules of `save`.
    SaveRules,
    /// The limits of `client-output-buffer-limit`.
    OutputLimits,
    /// The letters of `notify-keyspace-events`.
    KeyspaceEvents,
    /// Kept and shown, but nothing looks at it.
    WithoutEffect,
    /// An amount of memory or a percentage, checked and kept as it was written, but nothing looks at it.
    SizeWithoutEffect,
    /// Accepted only with its default, because obeying is impossible and ignoring it would do harm.
    OnlyDefault,
}

/// Splits a value at blanks.
pub fn words(text: &str) -> Vec<String> {
    match text {
        "" => vec![String::new()],
        _ => text.split_ascii_whitespace().map(str::to_owned).collect(),
    }
}

/// Reads `arguments` into the field of `directive`. The error is the reason, as it is shown.
pub fn write(
    settings: &mut Settings,
    directive: &Directive,
    arguments: &[String],
) -> Result<(), String> {
    match directive.kind {
        Kind::Words(field) => {
            *field(settings) = arguments
                .iter()
                .filter(|word| !word.is_empty())
                .cloned()
                .collect();
            return Ok(());
        }
        Kind::Lines(field) => {
            if arguments.iter().any(|word| !word.is_empty()) {
                field(settings).push(arguments.to_vec());
            }
            return Ok(());
        }
        Kind::Percentiles => {
            settings.latency_percentiles = parse_percentiles(arguments)?;
            return Ok(());
        }
        Kind::SaveRules => {
            settings.save = parse_save_rules(arguments)?;
            return Ok(());
        }
        Kind::OutputLimits => return write_output_limits(settings, arguments),
        Kind::WithoutEffect | Kind::SizeWithoutEffect => {
            if matches!(directive.kind, Kind::SizeWithoutEffect) {
                check_size(&arguments.join(" "))?;
            }
            settings
                .without_effect
                .insert(directive.name, arguments.join(" "));
            return Ok(());
        }
        Kind::OnlyDefault => {
            let asks_for_nothing = arguments.join(" ").eq_ignore_ascii_case(directive.default);
            return if asks_for_nothing {
                Ok(())
            } else {
                Err(directive.description.to_owned())
            };
        }
        _ => {}
    }
    let [argument] = arguments else {
        return Err("wrong number of arguments".to_owned());
    };
    write_one(settings, &directive.kind, argument)
}

fn write_one(settings: &mut Settings, kind: &Kind, argument: &str) -> Result<(), String> {
    match *kind {
        Kind::Boolean(field) => *field(settings) = parse_boolean(argument)?,
        Kind::Port(field) => {
            *field(settings) = parse_number(argument, 0, u64::from(u16::MAX))? as u16
        }
        Kind::Number(field, minimum, maximum) => {
            *field(settings) = parse_number(argument, minimum, maximum)?
        }
        Kind::Signed(field, minimum, maximum) => {
            *field(settings) = parse_signed(argument, minimum, maximum)?
        }
        Kind::Bytes(field, minimum) => *field(settings) = parse_bytes(argument, minimum)?,
        Kind::BytesOrPercent(field) => *field(settings) = parse_bytes_or_percent(argument)?,
        Kind::BytesOrUnlimited(field) => {
            let unlimited = argument.eq_ignore_ascii_case("unlimited");
            *field(settings) = if unlimited {
                None
            } else {
                Some(parse_bytes(argument, 0)?)
            };
        }
        Kind::Octal(field) => *field(settings) = parse_octal(argument)?,
        Kind::Text(field) => *field(settings) = argument.to_owned(),
        Kind::Path(field) => {
            let path = Path::new(argument);
            *field(settings) = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        }
        Kind::Choice(names, _, choose) => {
            let found = names
                .iter()
                .position(|name| argument.eq_ignore_ascii_case(name));
            let index = found.ok_or_else(|| {
                format!(
                    "argument(s) must be one of the following: {}",
                    names.join(", ")
                )
            })?;
            choose(settings, index);
        }
        Kind::KeyspaceEvents => {
            let events = EventClasses::parse(argument);
            settings.notify_keyspace_events =
                events.ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
        }
        // These take several words and are written above.
        Kind::Words(_) | Kind::SaveRules | Kind::OutputLimits => {}
        Kind::Lines(_) | Kind::Percentiles => {}
        Kind::WithoutEffect | Kind::SizeWithoutEffect | Kind::OnlyDefault => {}
    }
    Ok(())
}

/// The value of `directive` as CONFIG GET shows it.
pub fn read(settings: &Settings, directive: &Directive) -> String {
    // Fields are reached through `&mut`, so that each row names its field once; showing a value is rare enough for a
    // clone.
    let mut copy = settings.clone();
    match directive.kind {
        Kind::Boolean(field) => if *field(&mut copy) { "yes" } else { "no" }.to_owned(),
        Kind::Port(field) => field(&mut copy).to_string(),
        Kind::Number(field, ..) | Kind::Bytes(field, _) | Kind::BytesOrPercent(field) => {
            field(&mut copy).to_string()
        }
        Kind::Signed(field, ..) => field(&mut copy).to_string(),
        Kind::BytesOrUnlimited(field) => {
            field(&mut copy).map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string())
        }
        Kind::Octal(field) => format!("{:o}", field(&mut copy)),
        Kind::Text(field) => std::mem::take(field(&mut copy)),
        Kind::Path(field) => field(&mut copy).to_string_lossy().into_owned(),
        Kind::Words(field) => field(&mut copy).join(" "),
        Kind::Percentiles => copy.latency_percentiles.join(" "),
        Kind::Lines(field) => {
            let lines = field(&mut copy).iter().map(|line| line.join(" "));
            lines.collect::<Vec<_>>().join("\n")
        }
        Kind::Choice(names, current, _) => names[current(settings)].to_owned(),
        Kind::SaveRules => {
            let rules = settings
                .save
                .iter()
                .map(|rule| format!("{} {}", rule.seconds, rule.changes));
            rules.collect::<Vec<_>>().join(" ")
        }
        Kind::OutputLimits => {
            let limits = output_limits(settings).map(|(class, limit)| {
                format!(
                    "{class} {} {} {}",
                    limit.hard_bytes, limit.soft_bytes, limit.soft_seconds
                )
            });
            limits.join(" ")
        }
        Kind::KeyspaceEvents => settings.notify_keyspace_events.to_string(),
        Kind::WithoutEffect | Kind::SizeWithoutEffect => {
            let set = settings.without_effect.get(directive.name);
            set.map_or(directive.default, String::as_str).to_owned()
        }
        Kind::OnlyDefault => directive.default.to_owned(),
    }
}

/// The limits of each class of clients, under the name that Redis shows.
fn output_limits(settings: &Settings) -> [(&'static str, OutputLimit); 3] {
    [
        ("normal", settings.output_limit_normal),
        ("slave", settings.output_limit_replica),
        ("pubsub", settings.output_limit_pubsub),
    ]
}

fn parse_boolean(argument: &str) -> Result<bool, String> {
    match argument.to_ascii_lowercase().as_str() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("argument must be 'yes' or 'no'".to_owned()),
    }
}

fn parse_signed(argument: &str, minimum: i64, maximum: i64) -> Result<i64, String> {
    let value = number::parse_integer(argument.as_bytes());
    let value = value.ok_or("argument couldn't be parsed into an integer")?;
    if (minimum..=maximum).contains(&value) {
        return Ok(value);
    }
    Err(format!(
        "argument must be between {minimum} and {maximum} inclusive"
    ))
}

/// `maximum` must be within the range of `i64`.
fn parse_number(argument: &str, minimum: u64, maximum: u64) -> Result<u64, String> {
    let limit = |bound: u64| i64::try_from(bound).unwrap_or(i64::MAX);
    parse_signed(argument, limit(minimum), limit(maximum)).map(i64::unsigned_abs)
}

fn parse_bytes(argument: &str, minimum: u64) -> Result<u64, String> {
    const MAXIMUM: u64 = i64::MAX as u64;
    let bytes = memory::parse_bytes(argument).ok_or("argument must be a memory value")?;
    if (minimum..=MAXIMUM).contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!(
        "argument must be between {minimum} and {MAXIMUM} inclusive"
    ))
}

fn parse_percentiles(arguments: &[String]) -> Result<Vec<String>, String> {
    let shown = |word: &String| {
        let value = number::parse_double(word.as_bytes())
            .filter(|value| (0.0..=100.0).contains(value))
            .ok_or("latency-tracking-info-percentiles should contain a numeric value between 0.0 and 100.0")?;
        Ok(value.to_string())
    };
    let words = arguments.iter().filter(|word| !word.is_empty());
    words.map(shown).collect()
}

fn parse_bytes_or_percent(argument: &str) -> Result<u64, String> {
    let Some(percent) = argument.strip_suffix('%') else {
        return parse_bytes(argument, 0);
    };
    let percent = percent
        .parse::<u64>()
        .ok()
        .filter(|percent| (1..=100).contains(percent));
    let percent =
        percent.ok_or("argument must be a memory value or a percentage from 1% to 100%")?;
    // Where the system does not tell how much memory there is, there is no limit either.
    Ok(memory::available_bytes().map_or(0, |bytes| bytes / 100 * percent))
}

/// An amount of memory, or a percentage of up to 100.
fn check_size(argument: &str) -> Result<(), String> {
    let Some(percent) = argument.strip_suffix('%') else {
        return parse_bytes(argument, 0).map(drop);
    };
    let percent = number::parse_unsigned(percent.as_bytes());
    match percent.ok_or("argument must be a memory or percent value")? {
        0..=100 => Ok(()),
        _ => Err("percentage argument must be less or equal to 100".to_owned()),
    }
}

fn parse_octal(argument: &str) -> Result<u64, String> {
    let value = u64::from_str_radix(argument, 8);
    let value = value.map_err(|_| "argument couldn't be parsed as an octal number")?;
    if value <= 0o777 {
        Ok(value)
    } else {
        Err("argument must be between 0 and 777 inclusive".to_owned())
    }
}

/// Pairs of seconds and changes; a single empty argument means no rules.
pub fn parse_save_rules(arguments: &[String]) -> Result<Vec<SaveRule>, String> {
    if matches!(arguments, [only] if only.is_empty()) {
        return Ok(Vec::new());
    }
    let invalid = || "Invalid save parameters".to_owned();
    let (pairs, rest) = arguments.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err(invalid());
    }
    let number = |text: &str| {
        number::parse_unsigned(text.as_bytes()).filter(|value| *value <= i32::MAX as u64)
    };
    let rules = pairs.iter().map(|[seconds, changes]| {
        let seconds = number(seconds).filter(|seconds| *seconds > 0)?;
        Some(SaveRule {
            seconds,
            changes: number(changes)?,
        })
    });
    rules.collect::<Option<Vec<_>>>().ok_or_else(invalid)
}

/// Groups of a class, a hard limit, a soft limit and its seconds; classes that are not named keep theirs.
fn write_output_limits(settings: &mut Settings, arguments: &[String]) -> Result<(), String> {
    let (groups, rest) = arguments.as_chunks::<4>();
    if groups.is_empty() || !rest.is_empty() {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    for [class, hard, soft, seconds] in groups {
        let field = match class.to_ascii_lowercase().as_str() {
            "normal" => &mut settings.output_limit_normal,
            "slave" | "replica" => &mut settings.output_limit_replica,
            "pubsub" => &mut settings.output_limit_pubsub,
            _ => {
                return Err(
                    "Invalid client class specified in buffer limit configuration.".to_owned(),
                );
            }
        };
        let limit = || {
            Some(OutputLimit {
                hard_bytes: memory::parse_bytes(hard)?,
                soft_bytes: memory::parse_bytes(soft)?,
                soft_seconds: number::parse_unsigned(seconds.as_bytes())?,
            })
        };
        *field = limit()
            .ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
    }
    Ok(())
}
