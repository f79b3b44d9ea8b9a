//! Trimming: the options of XADD and XTRIM, and how many entries they drop.
//!
//! Trimming with `~` drops whole chunks only, and not more than LIMIT says. What is logged is always how many entries went.

use super::options::{Options, integer, is_keyword};
use super::streams_ids::{NewId, id, new_id};
use crate::config::Settings;
use crate::error::CommandError;
use crate::value::Stream;
use storage_format::StreamId;

const MAXLEN_AND_MINID: CommandError = CommandError::fixed(
    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
);
const MAXLEN_NEGATIVE: CommandError = CommandError::fixed("ERR The MAXLEN argument must be >= 0.");
const LIMIT_NEGATIVE: CommandError = CommandError::fixed("ERR The LIMIT argument must be >= 0.");
const LIMIT_ALONE: CommandError = CommandError::fixed(
    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
);
const LIMIT_WITHOUT_TILDE: CommandError =
    CommandError::fixed("ERR syntax error, LIMIT cannot be used without the special ~ option");
const NO_STRATEGY: CommandError =
    CommandError::fixed("ERR syntax error, XTRIM must be called with a trimming strategy");

/// What stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// So many entries.
    Newest(u64),
    /// Entries from this ID on.
    From(StreamId),
}

/// How to trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    keep: Keep,
    is_approximate: bool,
    /// Most entries to drop; 0: any number.
    limit: u64,
}

/// The options in front of an ID.
#[derive(Debug, PartialEq, Eq)]
pub struct AddOptions<'a> {
    /// The stream must exist.
    pub no_make_stream: bool,
    /// How to trim afterwards.
    pub trim: Option<Trim>,
    /// The ID.
    pub id: NewId,
    /// What follows the ID.
    pub pairs: &'a [&'a [u8]],
}

/// MAXLEN, MINID and LIMIT as far as they were read.
#[derive(Default)]
struct TrimOptions {
    keep: Option<Keep>,
    is_approximate: bool,
    limit: Option<u64>,
}

impl TrimOptions {
    /// Reads the option that `word` begins; false if it begins none. The last argument never is an option.
    fn read(&mut self, word: &[u8], options: &mut Options<'_>) -> Result<bool, CommandError> {
        if options.rest().is_empty() {
            return Ok(false);
        }
        if is_keyword(word, "maxlen") {
            let argument = self.strategy(options)?;
            let length = integer(argument)?;
            let length = u64::try_from(length).map_err(|_| MAXLEN_NEGATIVE)?;
            self.keep = Some(Keep::Newest(length));
        } else if is_keyword(word, "minid") {
            let argument = self.strategy(options)?;
            self.keep = Some(Keep::From(id(argument, 0)?));
        } else if is_keyword(word, "limit") {
            let limit = integer(options.value()?)?;
            self.limit = Some(u64::try_from(limit).map_err(|_| LIMIT_NEGATIVE)?);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Reads `~` or `=`, if something follows it, and the threshold.
    fn strategy<'a>(&mut self, options: &mut Options<'a>) -> Result<&'a [u8], CommandError> {
        if self.keep.is_some() {
            return Err(MAXLEN_AND_MINID);
        }
        let first = options.value()?;
        self.is_approximate = false;
        if !matches!(first, b"~" | b"=") || options.rest().is_empty() {
            return Ok(first);
        }
        self.is_approximate = first == b"~";
        options.value()
    }

    fn finish(self, settings: &Settings) -> Result<Option<Trim>, CommandError> {
        let Some(keep) = self.keep else {
            return match self.limit {
                None | Some(0) => Ok(None),
                Some(_) => Err(LIMIT_ALONE),
            };
        };
        let limit = match self.limit {
            Some(_) if !self.is_approximate => return Err(LIMIT_WITHOUT_TILDE),
            Some(limit) => limit,
            None if self.is_approximate => default_limit(settings),
            None => 0,
        };
        Ok(Some(Trim {
            keep,
            is_approximate: self.is_approximate,
            limit,
        }))
    }
}

/// What `~` drops at most: as many entries as a hundred chunks may have.
fn default_limit(settings: &Settings) -> u64 {
    const CHUNKS: u64 = 100;
    const WITHOUT_CHUNK_LIMIT: u64 = 10_000;
    const MOST: u64 = 1_000_000;
    match settings
        .encodings
        .stream_node_max_entries
        .saturating_mul(CHUNKS)
    {
        0 => WITHOUT_CHUNK_LIMIT,
        limit => limit.min(MOST),
    }
}

/// Reads XADD's arguments behind the key.
///
/// # Errors
/// The one that Redis gives for them; nothing about the pairs behind the ID.
pub fn read_add_options<'a>(
    arguments: &'a [&'a [u8]],
    settings: &Settings,
) -> Result<AddOptions<'a>, CommandError> {
    let mut options = Options::new(arguments, 2);
    let mut trim = TrimOptions::default();
    let mut no_make_stream = false;
    while let Some(word) = options.next() {
        if word != b"*" && trim.read(word, &mut options)? {
            continue;
        }
        if is_keyword(word, "nomkstream") {
            no_make_stream = true;
            continue;
        }
        let id = new_id(word)?;
        return Ok(AddOptions {
            no_make_stream,
            trim: trim.finish(settings)?,
            id,
            pairs: options.rest(),
        });
    }
    trim.finish(settings)?;
    Err(CommandError::wrong_arity("xadd"))
}

/// Reads XTRIM's arguments behind the key.
///
/// # Errors
/// The one that Redis gives for them.
pub fn read_trim(arguments: &[&[u8]], settings: &Settings) -> Result<Trim, CommandError> {
    let mut options = Options::new(arguments, 2);
    let mut trim = TrimOptions::default();
    while let Some(word) = options.next() {
        if !trim.read(word, &mut options)? {
            return Err(CommandError::SYNTAX);
        }
    }
    trim.finish(settings)?.ok_or(NO_STRATEGY)
}

impl Trim {
    /// How many of the oldest entries of a stream go.
    pub fn entries_to_drop(&self, stream: &Stream) -> u64 {
        let len = stream.len() as u64;
        if !self.is_approximate {
            return match self.keep {
                Keep::Newest(kept) => len.saturating_sub(kept),
                Keep::From(id) => stream.count_below(id) as u64,
            };
        }
        let mut dropped = 0;
        let mut chunks = stream.chunks();
        loop {
            if matches!(self.keep, Keep::Newest(kept) if len - dropped <= kept) {
                return dropped;
            }
            let Some(chunk) = chunks.next() else {
                return dropped;
            };
            let entries = chunk.entries() as u64;
            let is_past_limit = self.limit > 0 && dropped + entries > self.limit;
            let can_go = match self.keep {
                Keep::Newest(kept) => len - dropped - entries >= kept,
                Keep::From(id) => chunk.last_id() < id,
            };
            if is_past_limit || !can_go {
                return dropped;
            }
            dropped += entries;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trim_of(line: &str) -> Result<Trim, CommandError> {
        let settings = Settings::default();
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        read_trim(&words, &settings)
    }

    #[test]
    fn options_are_read_and_refused_as_redis_does() {
        let trim = |keep, is_approximate, limit| {
            Ok(Trim {
                keep,
                is_approximate,
                limit,
            })
        };
        let cases = [
            ("xtrim s maxlen 5", trim(Keep::Newest(5), false, 0)),
            ("xtrim s MAXLEN = 5", trim(Keep::Newest(5), false, 0)),
            ("xtrim s maxlen ~ 5", trim(Keep::Newest(5), true, 10_000)),
            ("xtrim s maxlen ~ 5 limit 0", trim(Keep::Newest(5), true, 0)),
            (
                "xtrim s limit 7 minid ~ 3",
                trim(Keep::From(StreamId::new(3, 0)), true, 7),
            ),
            ("xtrim s maxlen 5 limit 7", Err(LIMIT_WITHOUT_TILDE)),
            ("xtrim s limit 7", Err(LIMIT_ALONE)),
            ("xtrim s limit 0", Err(NO_STRATEGY)),
            ("xtrim s maxlen 5 minid 3", Err(MAXLEN_AND_MINID)),
            ("xtrim s maxlen -1", Err(MAXLEN_NEGATIVE)),
            ("xtrim s maxlen ~ 5 limit -1", Err(LIMIT_NEGATIVE)),
            ("xtrim s maxlen ~", Err(CommandError::NOT_INTEGER)),
            ("xtrim s maxlen", Err(CommandError::SYNTAX)),
            ("xtrim s other 1", Err(CommandError::SYNTAX)),
        ];
        for (line, expected) in cases {
            assert_eq!(trim_of(line), expected, "{line}");
        }
    }
}
