//! LPOS and LREM: finding items of a list by their value, from either end.

use super::access::KeyUse;
use super::collections::{count_or, ensure_room_for};
use super::context::Context;
use super::options::{Options, integer, integer_in, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Applied, EventClasses};
use crate::resp::Reply;
use crate::resp::reply::EMPTY_ARRAY;
use crate::value::List;
use std::ops::Range;
use storage_format::Effect;

/// Which of the items that equal a value are meant.
struct Search {
    /// From the end instead of from the head.
    backwards: bool,
    /// How many matches to pass over.
    skipped: usize,
    /// How many matches to find at most.
    wanted: usize,
    /// How many items to compare at most.
    compared: usize,
}

impl Search {
    /// Positions of the matches, in the order they are found.
    fn positions(&self, list: &List, value: &[u8]) -> Vec<usize> {
        let items = list.iter().enumerate();
        if self.backwards {
            self.matches(items.rev(), value)
        } else {
            self.matches(items, value)
        }
    }

    fn matches<'a>(
        &self,
        items: impl Iterator<Item = (usize, &'a [u8])>,
        value: &[u8],
    ) -> Vec<usize> {
        items
            .take(self.compared)
            .filter(|(_, item)| *item == value)
            .map(|(position, _)| position)
            .skip(self.skipped)
            .take(self.wanted)
            .collect()
    }
}

/// `LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]`
fn lpos(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const RANK_IS_ZERO: CommandError = CommandError::fixed(
        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
         or use negative to start from the end of the list",
    );
    const BAD_COUNT: CommandError = CommandError::fixed("ERR COUNT can't be negative");
    const BAD_LENGTH: CommandError = CommandError::fixed("ERR MAXLEN can't be negative");
    let (mut rank, mut count, mut compared) = (1, None, 0);
    let mut options = Options::new(arguments, 3);
    while let Some(word) = options.next() {
        if is_keyword(word, "rank") {
            rank = integer_in(options.value()?, -i64::MAX..=i64::MAX)?;
            if rank == 0 {
                return Err(RANK_IS_ZERO);
            }
        } else if is_keyword(word, "count") {
            count = Some(count_or(options.value()?, 0, BAD_COUNT)?);
        } else if is_keyword(word, "maxlen") {
            compared = count_or(options.value()?, 0, BAD_LENGTH)?;
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    let or_all = |limit: usize| if limit == 0 { usize::MAX } else { limit };
    let search = Search {
        backwards: rank < 0,
        skipped: rank.unsigned_abs() as usize - 1,
        wanted: count.map_or(1, or_all),
        compared: or_all(compared),
    };
    let list = context.keys.list(arguments[1])?;
    let found = list.map(|list| search.positions(list, arguments[2]));
    let found = found.unwrap_or_default();
    match (count, found.first()) {
        (Some(_), None) => reply.raw(EMPTY_ARRAY),
        (Some(_), Some(_)) => {
            reply.array_header(found.len());
            found.iter().for_each(|position| reply.count(*position));
        }
        (None, Some(position)) => reply.count(*position),
        (None, None) => reply.null(),
    }
    Ok(())
}

/// LREM key count element
fn lrem(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let key = arguments[1];
    let count = integer(arguments[2])?;
    let search = Search {
        backwards: count < 0,
        skipped: 0,
        wanted: match count {
            0 => usize::MAX,
            _ => count.unsigned_abs() as usize,
        },
        compared: usize::MAX,
    };
    let list = context.keys.list(key)?;
    let found = list.map(|list| search.positions(list, arguments[3]));
    let mut found = found.unwrap_or_default();
    if !search.backwards {
        found.reverse();
    }
    let runs = runs_from_the_back(&found);
    ensure_room_for(&context.keys, runs.len(), key.len(), 0)?;
    let mut applied = Applied::default();
    for run in runs {
        let (index, count) = (run.start as u64, run.len() as u64);
        applied = context
            .keys
            .apply(key, Effect::ListRemove { index, count })?;
    }
    context
        .keys
        .notify_removal(EventClasses::LIST, "lrem", key, applied);
    reply.count(found.len());
    Ok(())
}

/// Merges descending positions into runs. Removed in this order, none moves those that follow.
fn runs_from_the_back(descending: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for &position in descending {
        match runs.last_mut() {
            Some(run) if run.start == position + 1 => run.start = position,
            _ => runs.push(position..position + 1),
        }
    }
    runs
}

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "6.0.6",
        complexity: "O(N) for N elements looked at: all of the list, unless enough matches or MAXLEN end it before",
        summary: "Tells at which places of a list an element is.",
        ..CommandSpec::new(
            "lpos",
            -3,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::List,
            lpos,
        )
    }
    .with_syntax(
        "key element [RANK rank:integer] [COUNT num-matches:integer] [MAXLEN len:integer]",
    ),
    CommandSpec {
        complexity: "O(N+M) for M elements that go, N being those in the list",
        summary: "Takes out of a list what equals a given element.",
        ..CommandSpec::new("lrem", 4, Flags::WRITE, KeySpec::FIRST, Group::List, lrem)
    }.with_key_uses(&[KeyUse::DELETE])
    .with_syntax("key count:integer element"),
];
