//! LCS: the longest common subsequence of two strings.
//!
//! The usual table of `(m + 1) * (n + 1)` lengths, walked back from its end. The table is bounded by `proto-max-bulk-len`,
//! because it is made while the shards of both keys are locked.

use super::context::Context;
use super::options::{Options, integer, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;

const NOT_TEXTS: CommandError =
    CommandError::fixed("ERR The specified keys must contain string values");
const BOTH_FORMS: CommandError =
    CommandError::fixed("ERR If you want both the length and indexes, please just use IDX.");
const TOO_LONG: CommandError = CommandError::fixed("ERR String too long for LCS");
const TOO_MUCH_MEMORY: CommandError = CommandError::fixed(
    "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
);

/// The options of LCS.
#[derive(Default)]
struct LcsOptions {
    length_only: bool,
    ranges: bool,
    shortest: usize,
    with_lengths: bool,
}

impl LcsOptions {
    fn read(mut options: Options<'_>) -> Result<LcsOptions, CommandError> {
        let mut found = LcsOptions::default();
        while let Some(word) = options.next() {
            if is_keyword(word, "idx") {
                found.ranges = true;
            } else if is_keyword(word, "len") {
                found.length_only = true;
            } else if is_keyword(word, "withmatchlen") {
                found.with_lengths = true;
            } else if is_keyword(word, "minmatchlen") {
                found.shortest = usize::try_from(integer(options.value()?)?).unwrap_or(0);
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        if found.ranges && found.length_only {
            Err(BOTH_FORMS)
        } else {
            Ok(found)
        }
    }
}

/// Lengths of the longest common subsequences of all prefixes of two texts.
struct Lengths {
    cells: Vec<u32>,
    columns: usize,
}

impl Lengths {
    fn new(first: &[u8], second: &[u8], bytes_max: u64) -> Result<Lengths, CommandError> {
        if first.len().max(second.len()) >= u32::MAX as usize - 1 {
            return Err(TOO_LONG);
        }
        let columns = second.len() + 1;
        let cells = (first.len() as u64 + 1) * columns as u64;
        if cells.saturating_mul(size_of::<u32>() as u64) > bytes_max {
            return Err(TOO_MUCH_MEMORY);
        }
        let mut lengths = Lengths {
            cells: vec![0; cells as usize],
            columns,
        };
        for (row, byte) in first.iter().enumerate() {
            for (column, other) in second.iter().enumerate() {
                let length = if byte == other {
                    lengths.at(row, column) + 1
                } else {
                    lengths.at(row, column + 1).max(lengths.at(row + 1, column))
                };
                lengths.cells[(row + 1) * columns + column + 1] = length;
            }
        }
        Ok(lengths)
    }

    /// For the first `row` bytes of the first text and the first `column` bytes of the second.
    fn at(&self, row: usize, column: usize) -> u32 {
        self.cells[row * self.columns + column]
    }

    fn whole(&self) -> u32 {
        self.cells.last().copied().unwrap_or(0)
    }
}

/// A run of bytes that both texts have in common; its ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    first_start: usize,
    second_start: usize,
    length: usize,
}

/// The matches of one longest common subsequence, from the last to the first.
fn matches(first: &[u8], second: &[u8], lengths: &Lengths) -> Vec<Match> {
    let (mut row, mut column) = (first.len(), second.len());
    let mut found: Vec<Match> = Vec::new();
    while row > 0 && column > 0 {
        if first[row - 1] != second[column - 1] {
            if lengths.at(row - 1, column) > lengths.at(row, column - 1) {
                row -= 1;
            } else {
                column -= 1;
            }
            continue;
        }
        match found.last_mut() {
            Some(run) if run.first_start == row && run.second_start == column => {
                *run = Match {
                    first_start: row - 1,
                    second_start: column - 1,
                    length: run.length + 1,
                };
            }
            _ => found.push(Match {
                first_start: row - 1,
                second_start: column - 1,
                length: 1,
            }),
        }
        row -= 1;
        column -= 1;
    }
    found
}

fn lcs(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let mut text = |key: &[u8]| {
        context
            .keys
            .text(key)
            .map(|text| text.unwrap_or_default().to_vec())
            .map_err(|_| NOT_TEXTS)
    };
    let (first, second) = (text(arguments[1])?, text(arguments[2])?);
    let options = LcsOptions::read(Options::new(arguments, 3))?;
    let lengths = Lengths::new(&first, &second, context.settings.bulk_limit_bytes)?;
    if options.length_only {
        reply.integer(i64::from(lengths.whole()));
        return Ok(());
    }
    let mut matches = matches(&first, &second, &lengths);
    if !options.ranges {
        let runs = matches
            .iter()
            .rev()
            .map(|run| &first[run.first_start..run.first_start + run.length]);
        reply.bulk(&runs.collect::<Vec<_>>().concat());
        return Ok(());
    }
    matches.retain(|run| run.length >= options.shortest);
    reply.map_header(2);
    reply.bulk(b"matches");
    reply.array_header(matches.len());
    for run in &matches {
        reply.array_header(if options.with_lengths { 3 } else { 2 });
        for start in [run.first_start, run.second_start] {
            reply.array_header(2);
            reply.count(start);
            reply.count(start + run.length - 1);
        }
        if options.with_lengths {
            reply.count(run.length);
        }
    }
    reply.bulk(b"len");
    reply.integer(i64::from(lengths.whole()));
    Ok(())
}

/// The row of LCS.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    since: "7.0.0",
    complexity: "O(N*M) for strings of N and M bytes",
    summary: "Finds the longest sequence of bytes that two strings share; there may be others in between.",
    ..CommandSpec::new(
        "lcs",
        -3,
        Flags::READONLY.and(Flags::PEEKS),
        KeySpec::FIRST_TWO,
        Group::String,
        lcs,
    )
}
.with_syntax("key1:key key2:key#0 [LEN] [IDX] [MINMATCHLEN min-match-len:integer] [WITHMATCHLEN]")];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    const TEXTS: &str = "MSET a ohmytext b mynewtext";

    #[test]
    fn the_documented_example() {
        TestServer::new().check_all(&[
            (TEXTS, "+OK"),
            ("LCS a b", "\"mytext\""),
            ("LCS a b LEN", ":6"),
            (
                "LCS a b IDX",
                "[\"matches\" [[[:4 :7] [:5 :8]] [[:2 :3] [:0 :1]]] \"len\" :6]",
            ),
            (
                "LCS a b IDX MINMATCHLEN 4",
                "[\"matches\" [[[:4 :7] [:5 :8]]] \"len\" :6]",
            ),
            (
                "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
                "[\"matches\" [[[:4 :7] [:5 :8] :4]] \"len\" :6]",
            ),
            ("LCS a none", "\"\""),
            ("LCS a none IDX", "[\"matches\" [] \"len\" :0]"),
            ("LCS none none LEN", ":0"),
            ("LCS a a", "\"ohmytext\""),
        ]);
        let mut server = TestServer::resp3();
        server.check(TEXTS, "+OK");
        server.check(
            "LCS a b IDX MINMATCHLEN -5",
            "{\"matches\" [[[:4 :7] [:5 :8]] [[:2 :3] [:0 :1]]] \"len\" :6}",
        );
    }

    #[test]
    fn errors() {
        let mut server = TestServer::new();
        server.check_all(&[
            (TEXTS, "+OK"),
            (
                "LCS a b LEN IDX",
                "-ERR If you want both the length and indexes, please just use IDX.",
            ),
            ("LCS a b MINMATCHLEN", "-ERR syntax error"),
            (
                "LCS a b MINMATCHLEN x",
                "-ERR value is not an integer or out of range",
            ),
            ("LCS a b FOO", "-ERR syntax error"),
            ("HSET h f v", ":1"),
            (
                "LCS a h FOO",
                "-ERR The specified keys must contain string values",
            ),
        ]);
        server.settings.bulk_limit_bytes = 100;
        server.check(
            "LCS a b",
            "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        );
    }
}
