//! What the model test does, chosen at random and shrinkable: commands, transactions, demotions, saves and restarts.
//!
//! Commands are written as templates, whose words in capitals after the first stand for something random (see
//! [`argument`]). There are few keys and members, so that commands meet each other's data.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;

/// The keys that all commands use.
pub const KEYS: [&str; 6] = [
    "k0",
    "k1",
    "k2",
    "k3",
    "k4",
    "a:rather:long:key:that:fills:more:than:a:line:of:cache",
];

/// A command: its arguments.
pub type Command = Vec<Vec<u8>>;

/// One step of a history.
#[derive(Clone)]
pub enum Step {
    /// A command.
    Run(Command),
    /// MULTI, these commands, EXEC.
    Transaction(Vec<Command>),
    /// TIER DEMOTE of one key.
    Demote(&'static str),
    /// TIER DEMOTE ALL.
    DemoteAll,
    /// SAVE.
    Save,
    /// SIGKILL and a start.
    Kill,
    /// SHUTDOWN and a start.
    Restart,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Run(command) => write!(formatter, "{}", shown(command)),
            Step::Transaction(commands) => {
                let commands: Vec<String> = commands.iter().map(shown).collect();
                write!(formatter, "MULTI; {}; EXEC", commands.join("; "))
            }
            Step::Demote(key) => write!(formatter, "TIER DEMOTE {key}"),
            Step::DemoteAll => write!(formatter, "TIER DEMOTE ALL"),
            Step::Save => write!(formatter, "SAVE"),
            Step::Kill => write!(formatter, "(kill -9, start)"),
            Step::Restart => write!(formatter, "(SHUTDOWN, start)"),
        }
    }
}

/// A command as it would be typed, long arguments cut.
pub fn shown(command: &Command) -> String {
    let word = |argument: &Vec<u8>| match argument.len() {
        0 => "''".to_owned(),
        1..=30 => argument.escape_ascii().to_string(),
        length => format!("{}..({length} bytes)", argument[..12].escape_ascii()),
    };
    let shown: Vec<String> = command.iter().take(16).map(word).collect();
    let left_out = command.len().saturating_sub(16);
    if left_out == 0 {
        shown.join(" ")
    } else {
        format!("{} ..({left_out} more)", shown.join(" "))
    }
}

const TEMPLATES: &[&str] = &[
    "SET KEY VALUE",
    "SET KEY VALUE",
    "SET KEY NUMBER",
    "SET KEY VALUE NX",
    "SET KEY VALUE XX",
    "SET KEY VALUE GET",
    "SET KEY VALUE KEEPTTL",
    "SETNX KEY VALUE",
    "MSET KEY VALUE KEY VALUE",
    "MGET KEY KEY KEY",
    "GET KEY",
    "GET KEY",
    "GETDEL KEY",
    "GETEX KEY PXAT DEADLINE",
    "GETEX KEY PERSIST",
    "STRLEN KEY",
    "APPEND KEY VALUE",
    "APPEND KEY VALUE",
    "SETRANGE KEY OFFSET VALUE",
    "GETRANGE KEY INDEX INDEX",
    "INCRBY KEY NUMBER",
    "INCRBY KEY NUMBER",
    "HSET KEY PAIRS",
    "HSET KEY PAIRS",
    "HGET KEY MEMBER",
    "HDEL KEY MEMBERS",
    "HLEN KEY",
    "HGETALL KEY",
    "HINCRBY KEY MEMBER NUMBER",
    "LPUSH KEY ITEMS",
    "RPUSH KEY ITEMS",
    "LPUSHX KEY ITEMS",
    "RPUSHX KEY ITEMS",
    "LPOP KEY",
    "RPOP KEY",
    "LPOP KEY COUNT",
    "RPOP KEY COUNT",
    "LLEN KEY",
    "LRANGE KEY INDEX INDEX",
    "LRANGE KEY 0 -1",
    "LTRIM KEY INDEX INDEX",
    "LSET KEY INDEX VALUE",
    "LINSERT KEY BEFORE MEMBER VALUE",
    "LINSERT KEY AFTER MEMBER VALUE",
    "LREM KEY INDEX MEMBER",
    "LINDEX KEY INDEX",
    "LMOVE KEY KEY END END",
    "LMOVE KEY KEY END END",
    "SADD KEY MEMBERS",
    "SADD KEY MEMBERS",
    "SREM KEY MEMBERS",
    "SCARD KEY",
    "SMEMBERS KEY",
    "SISMEMBER KEY MEMBER",
    "SMOVE KEY KEY MEMBER",
    "SINTERSTORE KEY KEY KEY",
    "SUNIONSTORE KEY KEY KEY",
    "SDIFFSTORE KEY KEY KEY",
    "ZADD KEY SCORED",
    "ZADD KEY SCORED",
    "ZINCRBY KEY SCORE MEMBER",
    "ZREM KEY MEMBERS",
    "ZCARD KEY",
    "ZSCORE KEY MEMBER",
    "ZRANK KEY MEMBER",
    "ZCOUNT KEY SCORE SCORE",
    "ZRANGE KEY INDEX INDEX WITHSCORES",
    "ZREMRANGEBYRANK KEY INDEX INDEX",
    "ZPOPMIN KEY COUNT",
    "ZPOPMAX KEY COUNT",
    "DEL KEY KEY",
    "DEL KEY",
    "EXISTS KEY KEY",
    "TYPE KEY",
    "RENAME KEY KEY",
    "RENAME KEY KEY",
    "RENAMENX KEY KEY",
    "COPY KEY KEY DB DATABASE REPLACE",
    "COPY KEY KEY DB DATABASE",
    "PEXPIREAT KEY DEADLINE",
    "PEXPIREAT KEY DEADLINE",
    "PERSIST KEY",
    "PEXPIRETIME KEY",
    "DBSIZE",
    "SELECT DATABASE",
    "MOVE KEY DATABASE",
    "SWAPDB DATABASE DATABASE",
    "FLUSHDB",
];

/// Whole histories.
pub fn histories(steps: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), steps / 2..steps * 3 / 2)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => command().prop_map(Step::Run),
        4 => vec(command(), 1..5).prop_map(Step::Transaction),
        10 => proptest::sample::select(&KEYS[..]).prop_map(Step::Demote),
        3 => Just(Step::DemoteAll),
        1 => Just(Step::Save),
        2 => Just(Step::Kill),
        1 => Just(Step::Restart),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    Union::new(TEMPLATES.iter().map(|template| {
        let mut words = template.split(' ');
        let name = words.next().map(literal);
        let arguments: Vec<_> = name.into_iter().chain(words.map(argument)).collect();
        arguments.prop_map(|arguments| arguments.concat())
    }))
}

fn literal(word: &'static str) -> BoxedStrategy<Command> {
    Just(vec![word.as_bytes().to_vec()]).boxed()
}

/// What a word of a template stands for: one argument or several.
fn argument(word: &'static str) -> BoxedStrategy<Command> {
    let one =
        |strategy: BoxedStrategy<Vec<u8>>| strategy.prop_map(|argument| vec![argument]).boxed();
    match word {
        "KEY" => one(proptest::sample::select(&KEYS[..])
            .prop_map(|key| key.as_bytes().to_vec())
            .boxed()),
        "VALUE" => one(value()),
        "MEMBER" => one(member()),
        "MEMBERS" => several(|number| vec![member_named(number)]),
        "ITEMS" => several(|number| vec![member_named(number % 40)]),
        "PAIRS" => {
            several(|number| vec![member_named(number), (number * 7).to_string().into_bytes()])
        }
        "SCORED" => several(|number| {
            vec![
                (number * 7 % 101 - 50).to_string().into_bytes(),
                member_named(number),
            ]
        }),
        "NUMBER" => one(
            prop_oneof![8 => -5..100i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN)]
                .prop_map(text)
                .boxed(),
        ),
        "INDEX" => one((-9..9i64).prop_map(text).boxed()),
        "SCORE" => one((-50..50i64).prop_map(text).boxed()),
        "COUNT" => one((1..5i64).prop_map(text).boxed()),
        "OFFSET" => one(prop_oneof![5 => 0..40i64, 1 => 3000..6000i64]
            .prop_map(text)
            .boxed()),
        "DEADLINE" => one((4_000_000_000_000..4_000_000_001_000i64)
            .prop_map(text)
            .boxed()),
        "DATABASE" => one((0..2i64).prop_map(text).boxed()),
        "END" => one(proptest::sample::select(&["LEFT", "RIGHT"][..])
            .prop_map(|end| end.as_bytes().to_vec())
            .boxed()),
        other => literal(other),
    }
}

fn text(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// Few members collide, and some are longer than what is kept packed.
fn member_named(number: i64) -> Vec<u8> {
    if number % 13 == 5 {
        format!("member-{number}-{}", "long".repeat(30)).into_bytes()
    } else {
        format!("m{number}").into_bytes()
    }
}

fn member() -> BoxedStrategy<Vec<u8>> {
    (0..12i64).prop_map(member_named).boxed()
}

/// A few things, or sometimes so many that a collection is not small any more.
fn several(make: fn(i64) -> Vec<Vec<u8>>) -> BoxedStrategy<Command> {
    let few = vec(0..12i64, 1..5);
    let many = (0..12i64, 100..400i64).prop_map(|(from, count)| (from..from + count).collect());
    prop_oneof![12 => few.boxed(), 1 => many.boxed()]
        .prop_map(move |numbers| numbers.into_iter().flat_map(make).collect())
        .boxed()
}

/// Empty, short, binary, a few hundred bytes, or larger than a block of a snapshot likes.
fn value() -> BoxedStrategy<Vec<u8>> {
    let repeated = |count: std::ops::Range<usize>| {
        (b'a'..=b'z', count).prop_map(|(letter, count)| [letter, b' ', b'.'].repeat(count))
    };
    prop_oneof![
        1 => Just(Vec::new()),
        8 => "[a-z]{1,12}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 1..20),
        2 => member(),
        3 => repeated(50..200),
        1 => repeated(5_000..30_000),
    ]
    .boxed()
}
