//! ZRANGE and all its older relatives, ZRANGESTORE, ZCOUNT and ZLEXCOUNT.
//!
//! They are one command: ZRANGE's options BYSCORE, BYLEX and REV are what the older names fix, which is why those take
//! the other options of ZRANGE as well.

use super::access::KeyUse;
use super::collections::store_result;
use super::context::Context;
use super::options::{Options, integer, is_keyword};
use super::sorted_sets::write_members;
use super::sorted_sets_bounds::{Bounds, By};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::EventClasses;
use crate::resp::Reply;
use crate::resp::reply::EMPTY_ARRAY;
use crate::value::{SortedSet, Value};
use std::ops::Range;

/// What the name of a command leaves to its options.
#[derive(Clone, Copy)]
struct Form {
    /// Kind of bounds; `None`: BYSCORE and BYLEX decide.
    by: Option<By>,
    /// Direction; `None`: REV decides.
    is_reverse: Option<bool>,
    /// Index of the key; the bounds follow it.
    key_index: usize,
    /// ZRANGESTORE: scores are always taken along, so WITHSCORES is no option.
    stores: bool,
}

impl Form {
    const fn fixed(by: By, is_reverse: bool) -> Form {
        Form {
            by: Some(by),
            is_reverse: Some(is_reverse),
            key_index: 1,
            stores: false,
        }
    }
}

/// A range as a client asked for it.
struct Request<'a> {
    key: &'a [u8],
    bounds: Bounds<'a>,
    is_reverse: bool,
    with_scores: bool,
    /// Members to pass over; negative: all.
    offset: i64,
    /// Members to return at most; negative: no limit.
    limit: i64,
}

impl<'a> Request<'a> {
    fn parse(arguments: &'a [&'a [u8]], form: Form) -> Result<Request<'a>, CommandError> {
        let Form {
            mut by,
            mut is_reverse,
            key_index,
            stores,
        } = form;
        let (mut with_scores, mut offset, mut limit) = (false, 0, -1);
        let mut options = Options::new(arguments, key_index + 3);
        while let Some(word) = options.next() {
            if !stores && is_keyword(word, "withscores") {
                with_scores = true;
            } else if is_keyword(word, "limit") && options.rest().len() >= 2 {
                offset = integer(options.value()?)?;
                limit = integer(options.value()?)?;
            } else if is_reverse.is_none() && is_keyword(word, "rev") {
                is_reverse = Some(true);
            } else if by.is_none() && is_keyword(word, "bylex") {
                by = Some(By::Member);
            } else if by.is_none() && is_keyword(word, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        let (by, is_reverse) = (by.unwrap_or(By::Rank), is_reverse.unwrap_or(false));
        Self::check(by, with_scores, limit)?;
        let (mut first, mut last) = (arguments[key_index + 1], arguments[key_index + 2]);
        if is_reverse && by != By::Rank {
            std::mem::swap(&mut first, &mut last);
        }
        Ok(Request {
            key: arguments[key_index],
            bounds: Bounds::parse(by, first, last)?,
            is_reverse,
            with_scores,
            offset: if by == By::Rank { 0 } else { offset },
            limit,
        })
    }

    fn check(by: By, with_scores: bool, limit: i64) -> CommandResult {
        let message = if limit != -1 && by == By::Rank {
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
        } else if with_scores && by == By::Member {
            "ERR syntax error, WITHSCORES not supported in combination with BYLEX"
        } else {
            return Ok(());
        };
        Err(CommandError::fixed(message))
    }

    /// The ranks that are asked for, LIMIT counted from the end that comes first.
    fn ranks(&self, members: &SortedSet) -> Range<usize> {
        let ranks = self.bounds.ranks(members, self.is_reverse);
        let offset = usize::try_from(self.offset)
            .unwrap_or(usize::MAX)
            .min(ranks.len());
        let limit = usize::try_from(self.limit)
            .unwrap_or(usize::MAX)
            .min(ranks.len() - offset);
        if self.is_reverse {
            let end = ranks.end - offset;
            end - limit..end
        } else {
            let start = ranks.start + offset;
            start..start + limit
        }
    }
}

fn range(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    form: Form,
) -> CommandResult {
    let request = Request::parse(arguments, form)?;
    let Some(members) = context.keys.sorted_set(request.key)? else {
        reply.raw(EMPTY_ARRAY);
        return Ok(());
    };
    let ranks = request.ranks(members);
    let found = members.range(ranks.start, ranks.len());
    if request.is_reverse {
        write_members(reply, found.rev(), request.with_scores);
    } else {
        write_members(reply, found, request.with_scores);
    }
    Ok(())
}

/// `ZRANGE key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
fn zrange(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let form = Form {
        by: None,
        is_reverse: None,
        key_index: 1,
        stores: false,
    };
    range(context, arguments, reply, form)
}

/// `ZREVRANGE key start stop [WITHSCORES]`
fn zrevrange(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    range(context, arguments, reply, Form::fixed(By::Rank, true))
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
fn zrangebyscore(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    range(context, arguments, reply, Form::fixed(By::Score, false))
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`
fn zrevrangebyscore(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    range(context, arguments, reply, Form::fixed(By::Score, true))
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`
fn zrangebylex(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    range(context, arguments, reply, Form::fixed(By::Member, false))
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`
fn zrevrangebylex(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    range(context, arguments, reply, Form::fixed(By::Member, true))
}

/// `ZRANGESTORE destination source min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]`
fn zrangestore(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let form = Form {
        by: None,
        is_reverse: None,
        key_index: 2,
        stores: true,
    };
    let request = Request::parse(arguments, form)?;
    context.keys.counts_lookups = true;
    let mut result = SortedSet::default();
    if let Some(members) = context.keys.sorted_set(request.key)? {
        let ranks = request.ranks(members);
        for (member, score) in members.range(ranks.start, ranks.len()) {
            result.insert(score, member);
        }
    }
    reply.count(result.len());
    let result = Value::SortedSet(result);
    let event = (EventClasses::SORTED_SET, "zrangestore");
    store_result(&mut context.keys, arguments[1], result, event)
}

fn count(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    by: By,
) -> CommandResult {
    let bounds = Bounds::parse(by, arguments[2], arguments[3])?;
    let members = context.keys.sorted_set(arguments[1])?;
    reply.count(members.map_or(0, |members| bounds.ranks(members, false).len()));
    Ok(())
}

/// ZCOUNT key min max
fn zcount(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    count(context, arguments, reply, By::Score)
}

/// ZLEXCOUNT key min max
fn zlexcount(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    count(context, arguments, reply, By::Member)
}

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);
const RANGE_COMPLEXITY: &str = "O(log(N)+M) for M members returned, N being those in the set";

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "1.2.0",
        complexity: RANGE_COMPLEXITY,
        summary: "Returns the members between two places, two scores or two texts.",
        ..CommandSpec::new("zrange", -4, READ, KeySpec::FIRST, Group::SortedSet, zrange)
    }
    .with_syntax(
        "key start stop sortby[BYSCORE | BYLEX]@6.2.0 [REV]@6.2.0 \
         [LIMIT offset:integer count:integer]@6.2.0 [WITHSCORES]",
    ),
    CommandSpec {
        since: "1.2.0",
        complexity: RANGE_COMPLEXITY,
        summary: "Returns the members between two places, counted from the highest score.",
        ..CommandSpec::new(
            "zrevrange",
            -4,
            READ,
            KeySpec::FIRST,
            Group::SortedSet,
            zrevrange,
        )
    }
    .with_syntax("key start:integer stop:integer [WITHSCORES]")
    .with_deprecated("6.2.0", "`ZRANGE key start stop REV`"),
    CommandSpec {
        since: "1.0.5",
        complexity: RANGE_COMPLEXITY,
        summary: "Returns the members between two scores, lowest first.",
        ..CommandSpec::new(
            "zrangebyscore",
            -4,
            READ,
            KeySpec::FIRST,
            Group::SortedSet,
            zrangebyscore,
        )
    }
    .with_syntax(
        "key min:double max:double [WITHSCORES]@2.0.0 [LIMIT offset:integer count:integer]",
    )
    .with_deprecated("6.2.0", "`ZRANGE key min max BYSCORE`"),
    CommandSpec {
        since: "2.2.0",
        complexity: RANGE_COMPLEXITY,
        summary: "Returns the members between two scores, highest first.",
        ..CommandSpec::new(
            "zrevrangebyscore",
            -4,
            READ,
            KeySpec::FIRST,
            Group::SortedSet,
            zrevrangebyscore,
        )
    }
    .with_syntax("key max:double min:double [WITHSCORES] [LIMIT offset:integer count:integer]")
    .with_deprecated("6.2.0", "`ZRANGE key max min BYSCORE REV`"),
    CommandSpec {
        since: "2.8.9",
        complexity: RANGE_COMPLEXITY,
        summary: "Returns the members between two texts, in the order of their bytes.",
        ..CommandSpec::new(
            "zrangebylex",
            -4,
            READ,
            KeySpec::FIRST,
            Group::SortedSet,
            zrangebylex,
        )
    }
    .with_syntax("key min max [LIMIT offset:integer count:integer]")
    .with_deprecated("6.2.0", "`ZRANGE key min max BYLEX`"),
    CommandSpec {
        since: "2.8.9",
        complexity: RANGE_COMPLEXITY,
        summary: "Returns the members between two texts, last one first.",
        ..CommandSpec::new(
            "zrevrangebylex",
            -4,
            READ,
            KeySpec::FIRST,
            Group::SortedSet,
            zrevrangebylex,
        )
    }
    .with_syntax("key max min [LIMIT offset:integer count:integer]")
    .with_deprecated("6.2.0", "`ZRANGE key max min BYLEX REV`"),
    CommandSpec {
        since: "6.2.0",
        complexity: "O(log(N)+M) for M members stored, N being those in the set",
        summary: "Stores the members between two places, two scores or two texts at another key.",
        ..CommandSpec::new(
            "zrangestore",
            -5,
            Flags::WRITE.and(Flags::DENYOOM),
            KeySpec::FIRST_TWO,
            Group::SortedSet,
            zrangestore,
        )
    }
    .with_key_uses(&[KeyUse::REPLACE.at(1, 1), KeyUse::READ.at(2, 2)])
    .with_syntax(
        "dst:key src:key min max sortby[BYSCORE | BYLEX] [REV] \
         [LIMIT offset:integer count:integer]",
    ),
    CommandSpec {
        since: "2.0.0",
        complexity: "O(log(N)) for N members in the set",
        summary: "Tells how many members are between two scores.",
        ..CommandSpec::new(
            "zcount",
            4,
            READ_FAST,
            KeySpec::FIRST,
            Group::SortedSet,
            zcount,
        )
    }
    .with_syntax("key min:double max:double"),
    CommandSpec {
        since: "2.8.9",
        complexity: "O(log(N)) for N members in the set",
        summary: "Tells how many members are between two texts, in the order of their bytes.",
        ..CommandSpec::new(
            "zlexcount",
            4,
            READ_FAST,
            KeySpec::FIRST,
            Group::SortedSet,
            zlexcount,
        )
    }
    .with_syntax("key min max"),
];
