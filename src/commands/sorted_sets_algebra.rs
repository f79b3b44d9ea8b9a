//! ZUNION, ZINTER, ZDIFF, their storing variants, and ZINTERCARD. Sets are operands too: all their scores are 1.
//!
//! As in `sets_algebra`, the operands are O(1) clones and an intersection looks at the members of the smallest only.
//! Scores are added from the smallest operand to the largest, as Redis does it, because the order shows in the last
//! digits of a sum.

use super::collections::{count_or, store_result};
use super::context::Context;
use super::options::{Options, double, integer, is_keyword};
use super::sorted_sets::write_members;
use super::spec::{CommandFunction, CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{EventClasses, Keys};
use crate::resp::Reply;
use crate::value::{Set, SortedSet, Value};
use hashbrown::HashMap;

/// A set or a sorted set.
enum Members {
    Plain(Set),
    Scored(SortedSet),
}

impl Members {
    fn of_key(keys: &mut Keys<'_>, key: &[u8]) -> Result<Members, CommandError> {
        match keys.value(key) {
            None => Ok(Members::Plain(Set::default())),
            Some(Value::Set(set)) => Ok(Members::Plain(set)),
            Some(Value::SortedSet(members)) => Ok(Members::Scored(members)),
            Some(_) => Err(CommandError::WRONG_TYPE),
        }
    }

    fn len(&self) -> usize {
        match self {
            Members::Plain(set) => set.len(),
            Members::Scored(members) => members.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Members::Plain(set) => set.contains(member).then_some(1.0),
            Members::Scored(members) => members.score(member),
        }
    }

    fn iter(&self) -> Box<dyn Iterator<Item = (&[u8], f64)> + '_> {
        match self {
            Members::Plain(set) => Box::new(set.iter().map(|member| (member, 1.0))),
            Members::Scored(members) => Box::new(members.iter()),
        }
    }
}

/// An operand of a union or intersection.
struct Operand {
    members: Members,
    weight: f64,
}

impl Operand {
    /// A score as it enters the result. Infinity times 0 is 0.
    fn weighted(&self, score: f64) -> f64 {
        or_zero(score * self.weight)
    }
}

fn or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// How the scores of a member become one.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Least,
    Greatest,
}

impl Aggregate {
    fn parse(word: &[u8]) -> Result<Aggregate, CommandError> {
        match word {
            word if is_keyword(word, "sum") => Ok(Aggregate::Sum),
            word if is_keyword(word, "min") => Ok(Aggregate::Least),
            word if is_keyword(word, "max") => Ok(Aggregate::Greatest),
            _ => Err(CommandError::SYNTAX),
        }
    }

    /// Joins two scores; infinity and minus infinity make 0.
    fn join(self, first: f64, second: f64) -> f64 {
        match self {
            Aggregate::Sum => or_zero(first + second),
            Aggregate::Least => first.min(second),
            Aggregate::Greatest => first.max(second),
        }
    }
}

/// Which operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What the name of a command fixes.
#[derive(Clone, Copy)]
struct Form {
    name: &'static str,
    operation: Operation,
    stores: bool,
}

/// An operation with its operands.
struct Request {
    operation: Operation,
    operands: Vec<Operand>,
    aggregate: Aggregate,
    with_scores: bool,
}

impl Request {
    /// Reads `numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE how] [WITHSCORES]`. The types of the keys are
    /// looked at before the options.
    fn parse(
        keys: &mut Keys<'_>,
        arguments: &[&[u8]],
        form: Form,
    ) -> Result<Request, CommandError> {
        let (operands, options) = operands(keys, arguments, form.name)?;
        let mut request = Request {
            operation: form.operation,
            operands,
            aggregate: Aggregate::Sum,
            with_scores: false,
        };
        let aggregates = form.operation != Operation::Difference;
        let mut options = Options::new(options, 0);
        while let Some(word) = options.next() {
            let count = request.operands.len();
            if aggregates && is_keyword(word, "weights") && options.rest().len() >= count {
                request.read_weights(&mut options)?;
            } else if aggregates && is_keyword(word, "aggregate") {
                request.aggregate = Aggregate::parse(options.value()?)?;
            } else if !form.stores && is_keyword(word, "withscores") {
                request.with_scores = true;
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(request)
    }

    fn read_weights(&mut self, options: &mut Options<'_>) -> CommandResult {
        const NOT_A_WEIGHT: CommandError = CommandError::fixed("ERR weight value is not a float");
        for operand in &mut self.operands {
            operand.weight = double(options.value()?).map_err(|_| NOT_A_WEIGHT)?;
        }
        Ok(())
    }

    /// The result, in the order of a sorted set.
    fn result(&mut self) -> Vec<(&[u8], f64)> {
        let mut result: Vec<(&[u8], f64)> = match self.operation {
            Operation::Union => {
                sort_by_length(&mut self.operands);
                union(&self.operands, self.aggregate)
            }
            Operation::Intersection => {
                sort_by_length(&mut self.operands);
                intersection(&self.operands, self.aggregate).collect()
            }
            Operation::Difference => difference(&self.operands).collect(),
        };
        result.sort_unstable_by(|(left_member, left), (right_member, right)| {
            let by_score = left.partial_cmp(right).unwrap_or(std::cmp::Ordering::Equal);
            by_score.then_with(|| left_member.cmp(right_member))
        });
        result
    }
}

/// The operands, each of weight 1, and the arguments behind them. `arguments` begins with their number.
fn operands<'a>(
    keys: &mut Keys<'_>,
    arguments: &'a [&'a [u8]],
    name: &str,
) -> Result<(Vec<Operand>, &'a [&'a [u8]]), CommandError> {
    let (count, rest) = arguments.split_first().ok_or(CommandError::SYNTAX)?;
    let count = usize::try_from(integer(count)?).unwrap_or(0);
    if count == 0 {
        let message = format!("ERR at least 1 input key is needed for '{name}' command");
        return Err(CommandError::new(message));
    }
    let (names, options) = rest.split_at_checked(count).ok_or(CommandError::SYNTAX)?;
    keys.counts_lookups = true;
    let operands = names
        .iter()
        .map(|name| {
            let members = Members::of_key(keys, name)?;
            Ok(Operand {
                members,
                weight: 1.0,
            })
        })
        .collect::<Result<_, CommandError>>()?;
    Ok((operands, options))
}

fn sort_by_length(operands: &mut [Operand]) {
    operands.sort_by_key(|operand| operand.members.len());
}

fn union(operands: &[Operand], aggregate: Aggregate) -> Vec<(&[u8], f64)> {
    let largest = operands.last().map_or(0, |operand| operand.members.len());
    let mut scores: HashMap<&[u8], f64> = HashMap::with_capacity(largest);
    for operand in operands {
        for (member, score) in operand.members.iter() {
            let score = operand.weighted(score);
            scores
                .entry(member)
                .and_modify(|joined| *joined = aggregate.join(*joined, score))
                .or_insert(score);
        }
    }
    scores.into_iter().collect()
}

/// Members of the first operand, which should be the smallest, that all others have too.
fn intersection(operands: &[Operand], aggregate: Aggregate) -> impl Iterator<Item = (&[u8], f64)> {
    let (smallest, others) = operands.split_at(operands.len().min(1));
    smallest.iter().flat_map(move |smallest| {
        smallest.members.iter().filter_map(move |(member, score)| {
            let first = smallest.weighted(score);
            let joined = others.iter().try_fold(first, |joined, other| {
                let score = other.members.score(member)?;
                Some(aggregate.join(joined, other.weighted(score)))
            });
            joined.map(|score| (member, score))
        })
    })
}

/// Members of the first operand that no other has.
fn difference(operands: &[Operand]) -> impl Iterator<Item = (&[u8], f64)> {
    let (first, others) = operands.split_at(operands.len().min(1));
    let is_elsewhere = move |member: &[u8]| {
        others
            .iter()
            .any(|other| other.members.score(member).is_some())
    };
    first
        .iter()
        .flat_map(|first| first.members.iter())
        .filter(move |(member, _)| !is_elsewhere(member))
}

fn list(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    form: Form,
) -> CommandResult {
    let mut request = Request::parse(&mut context.keys, &arguments[1..], form)?;
    let with_scores = request.with_scores;
    write_members(reply, request.result().into_iter(), with_scores);
    Ok(())
}

fn store(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    form: Form,
) -> CommandResult {
    let mut request = Request::parse(&mut context.keys, &arguments[2..], form)?;
    let mut stored = SortedSet::default();
    for (member, score) in request.result() {
        stored.insert(score, member);
    }
    reply.count(stored.len());
    let stored = Value::SortedSet(stored);
    let event = (EventClasses::SORTED_SET, form.name);
    store_result(&mut context.keys, arguments[1], stored, event)
}

/// `ZUNION numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]`
fn zunion(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let form = Form {
        name: "zunion",
        operation: Operation::Union,
        stores: false,
    };
    list(context, arguments, reply, form)
}

/// `ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX]`
fn zunionstore(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let form = Form {
        name: "zunionstore",
        operation: Operation::Union,
        stores: true,
    };
    store(context, arguments, reply, form)
}

/// `ZINTER numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]`
fn zinter(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let form = Form {
        name: "zinter",
        operation: Operation::Intersection,
        stores: false,
    };
    list(context, arguments, reply, form)
}

/// `ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX]`
fn zinterstore(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let form = Form {
        name: "zinterstore",
        operation: Operation::Intersection,
        stores: true,
    };
    store(context, arguments, reply, form)
}

/// `ZDIFF numkeys key [key ...] [WITHSCORES]`
fn zdiff(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let form = Form {
        name: "zdiff",
        operation: Operation::Difference,
        stores: false,
    };
    list(context, arguments, reply, form)
}

/// `ZDIFFSTORE destination numkeys key [key ...]`
fn zdiffstore(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let form = Form {
        name: "zdiffstore",
        operation: Operation::Difference,
        stores: true,
    };
    store(context, arguments, reply, form)
}

/// `ZINTERCARD numkeys key [key ...] [LIMIT limit]`
fn zintercard(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    const BAD_LIMIT: CommandError = CommandError::fixed("ERR LIMIT can't be negative");
    let (mut operands, options) = operands(&mut context.keys, &arguments[1..], "zintercard")?;
    let mut limit = 0;
    let mut options = Options::new(options, 0);
    while let Some(word) = options.next() {
        if !is_keyword(word, "limit") {
            return Err(CommandError::SYNTAX);
        }
        limit = count_or(options.value()?, 0, BAD_LIMIT)?;
    }
    let limit = if limit == 0 { usize::MAX } else { limit };
    sort_by_length(&mut operands);
    let found = intersection(&operands, Aggregate::Sum);
    reply.count(found.take(limit).count());
    Ok(())
}

/// A row of a command that replies with its result.
const fn listing(name: &'static str, function: CommandFunction) -> CommandSpec {
    const FLAGS: Flags = Flags::READONLY.and(Flags::MOVABLE_KEYS);
    const KEYS: &[KeySpec] = &[KeySpec::Counted { count_index: 1 }];
    CommandSpec {
        since: "6.2.0",
        ..CommandSpec::new(name, -3, FLAGS, KEYS, Group::SortedSet, function)
    }
}

/// A row of a command that stores its result.
const fn storing(name: &'static str, function: CommandFunction) -> CommandSpec {
    const FLAGS: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS);
    const KEYS: &[KeySpec] = &[
        KeySpec::Range {
            first: 1,
            last: 1,
            step: 1,
        },
        KeySpec::Counted { count_index: 2 },
    ];
    CommandSpec {
        since: "2.0.0",
        ..CommandSpec::new(name, -4, FLAGS, KEYS, Group::SortedSet, function)
    }
}

const UNION_COMPLEXITY: &str =
    "O(N)+O(M*log(M)) for N members in all sets together and M in the result";
const INTERSECTION_COMPLEXITY: &str =
    "O(N*K)+O(M*log(M)) at worst, N being the size of the smallest of K sets, M that of the result";
const DIFFERENCE_COMPLEXITY: &str =
    "O(N*K)+O(M*log(M)) at worst, N being the size of the first of K sets, M that of the result";

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        complexity: UNION_COMPLEXITY,
        summary: "Returns the members that any of several sorted sets has, their scores combined.",
        ..listing("zunion", zunion)
    }
    .with_syntax(
        "numkeys:integer key... [WEIGHTS weight:integer...] [AGGREGATE <SUM | MIN | MAX>] \
         [WITHSCORES]",
    ),
    CommandSpec {
        complexity: UNION_COMPLEXITY,
        summary: "Stores the members that any of several sorted sets has, their scores combined.",
        ..storing("zunionstore", zunionstore)
    }
    .with_syntax(
        "destination:key numkeys:integer key... [WEIGHTS weight:integer...] \
         [AGGREGATE <SUM | MIN | MAX>]",
    ),
    CommandSpec {
        complexity: INTERSECTION_COMPLEXITY,
        summary: "Returns the members that all of several sorted sets have, their scores combined.",
        ..listing("zinter", zinter)
    }
    .with_syntax(
        "numkeys:integer key... [WEIGHTS weight:integer...] [AGGREGATE <SUM | MIN | MAX>] \
         [WITHSCORES]",
    ),
    CommandSpec {
        complexity: INTERSECTION_COMPLEXITY,
        summary: "Stores the members that all of several sorted sets have, their scores combined.",
        ..storing("zinterstore", zinterstore)
    }
    .with_syntax(
        "destination:key numkeys:integer key... [WEIGHTS weight:integer...] \
         [AGGREGATE <SUM | MIN | MAX>]",
    ),
    CommandSpec {
        since: "7.0.0",
        complexity: "O(N*K) at worst, N being the size of the smallest of K sets",
        summary: "Tells how many members all of several sorted sets have.",
        ..listing("zintercard", zintercard)
    }
    .with_syntax("numkeys:integer key... [LIMIT limit:integer]"),
    CommandSpec {
        complexity: DIFFERENCE_COMPLEXITY,
        summary: "Returns the members of the first sorted set that no other one has.",
        ..listing("zdiff", zdiff)
    }
    .with_syntax("numkeys:integer key... [WITHSCORES]"),
    CommandSpec {
        since: "6.2.0",
        complexity: DIFFERENCE_COMPLEXITY,
        summary: "Stores the members of the first sorted set that no other one has.",
        ..storing("zdiffstore", zdiffstore)
    }
    .with_syntax("destination:key numkeys:integer key..."),
];
