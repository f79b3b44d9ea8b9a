//! SORT and SORT_RO.
//!
//! BY and GET with a pattern read keys that are known only when the elements are. So such a SORT is a job: it locks the source (and the
//! destination), finds out which keys it needs, and begins anew with those locked too, until nothing is missing. The run that
//! gives the result has everything it reads and writes locked at once, so its reply is that of one moment, as in Redis.
//! Without patterns it is a plain command. The sorting is in `sort_order`.

use super::access::KeyUse;
use super::acl;
use super::categories::Categories;
use super::context::Context;
use super::options::{Options, integer, is_keyword};
use super::services::Services;
use super::sort_order::{Output, run};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use super::transactions;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Deadline, EventClasses, Keys};
use crate::resp::Reply;
use crate::value::{List, Value};
use hashbrown::HashSet;
use std::ops::Range;
use storage_format::Side;

/// A key's name with a place for the element: `weight_*`, `user_*->age`.
#[derive(Debug)]
pub(super) struct Pattern {
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    /// The field, if the key is a hash.
    pub(super) field: Option<Vec<u8>>,
}

impl Pattern {
    /// `None` without a `*`.
    fn parse(text: &[u8]) -> Option<Pattern> {
        let star = text.iter().position(|byte| *byte == b'*')?;
        let (prefix, rest) = (&text[..star], &text[star + 1..]);
        let arrow = rest.windows(2).position(|pair| pair == b"->");
        let (suffix, field) = match arrow {
            Some(at) if at + 2 < rest.len() => (&rest[..at], Some(rest[at + 2..].to_vec())),
            _ => (rest, None),
        };
        Some(Pattern {
            prefix: prefix.to_vec(),
            suffix: suffix.to_vec(),
            field,
        })
    }

    /// The key for an element.
    pub(super) fn key_of(&self, element: &[u8]) -> Vec<u8> {
        [&self.prefix, element, &self.suffix].concat()
    }
}

/// What is shown of an element.
#[derive(Debug)]
pub(super) enum Shown {
    /// `#`: itself.
    Element,
    /// What a pattern names.
    Named(Pattern),
    /// A GET without `*`: always nothing.
    Nothing,
}

/// A SORT, read.
#[derive(Debug)]
pub(super) struct Request {
    /// The key with the elements.
    pub(super) key: Vec<u8>,
    /// DESC.
    pub(super) descending: bool,
    /// ALPHA: texts, not numbers.
    pub(super) alpha: bool,
    /// False after a BY without `*`.
    pub(super) sorts: bool,
    /// BY.
    pub(super) by: Option<Pattern>,
    /// GET.
    pub(super) shown: Vec<Shown>,
    start: i64,
    count: i64,
    store: Option<Vec<u8>>,
    /// Inside EXEC or a script.
    is_nested: bool,
}

/// True if the client may read whatever keys BY and GET name: nobody checks them one by one.
fn may_read_all_keys(context: &Context<'_>, arguments: &[&[u8]]) -> bool {
    let session = &*context.session;
    session.is_unrestricted()
        || transactions::resolve(arguments)
            .is_ok_and(|row| acl::may_read_all_keys(session.user(), row, arguments))
}

impl Request {
    /// Reads the options; `may_follow` tells whether patterns may name keys. The first mistake counts, whichever it is.
    fn parse(
        arguments: &[&[u8]],
        may_store: bool,
        may_follow: impl Fn() -> bool,
    ) -> Result<Request, CommandError> {
        const BY_DENIED: CommandError = CommandError::fixed(
            "ERR BY option of SORT denied due to insufficient ACL permissions.",
        );
        const GET_DENIED: CommandError = CommandError::fixed(
            "ERR GET option of SORT denied due to insufficient ACL permissions.",
        );
        let mut request = Request {
            key: arguments[1].to_vec(),
            descending: false,
            alpha: false,
            sorts: true,
            by: None,
            shown: Vec::new(),
            start: 0,
            count: -1,
            store: None,
            is_nested: false,
        };
        let mut options = Options::new(arguments, 2);
        while let Some(word) = options.next() {
            let left = options.rest().len();
            match word {
                word if is_keyword(word, "asc") => request.descending = false,
                word if is_keyword(word, "desc") => request.descending = true,
                word if is_keyword(word, "alpha") => request.alpha = true,
                word if is_keyword(word, "limit") && left >= 2 => {
                    request.start = integer(options.value()?)?;
                    request.count = integer(options.value()?)?;
                }
                word if is_keyword(word, "store") && may_store && left >= 1 => {
                    request.store = Some(options.value()?.to_vec());
                }
                word if is_keyword(word, "by") && left >= 1 => {
                    request.by = Pattern::parse(options.value()?);
                    // Once it is not to be sorted it stays so, whatever another BY says.
                    request.sorts &= request.by.is_some();
                    if request.by.is_some() && !may_follow() {
                        return Err(BY_DENIED);
                    }
                }
                // Any GET, even of the element itself.
                word if is_keyword(word, "get") && left >= 1 && !may_follow() => {
                    return Err(GET_DENIED);
                }
                word if is_keyword(word, "get") && left >= 1 => {
                    request.shown.push(match options.value()? {
                        b"#" => Shown::Element,
                        text => Pattern::parse(text).map_or(Shown::Nothing, Shown::Named),
                    });
                }
                _ => return Err(CommandError::SYNTAX),
            }
        }
        Ok(request)
    }

    /// True if keys are read that are not among the arguments.
    fn has_patterns(&self) -> bool {
        let is_pattern = |shown: &Shown| matches!(shown, Shown::Named(_));
        self.sorts && self.by.is_some() || self.shown.iter().any(is_pattern)
    }

    /// True if a set must come in an order that does not depend on how it is stored.
    pub(super) fn wants_determinism(&self) -> bool {
        self.store.is_some() || self.is_nested
    }

    /// LIMIT, cut to a number of elements.
    pub(super) fn range(&self, length: usize) -> Range<usize> {
        let start = usize::try_from(self.start.max(0)).unwrap_or(length);
        let start = start.min(length);
        let count = usize::try_from(self.count).unwrap_or(length);
        start..start.saturating_add(count).min(length)
    }
}

/// Replies with the output, or stores it.
fn finish(
    keys: &mut Keys<'_>,
    request: &Request,
    output: &Output,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let Some(destination) = &request.store else {
        reply.array_header(output.len());
        for item in output {
            reply.bulk_or_null(item.as_deref());
        }
        return Ok(());
    };
    if output.is_empty() {
        if keys.delete(destination)? {
            keys.notify(EventClasses::GENERIC, "del", destination);
        }
    } else {
        let mut list = List::new();
        for item in output {
            list.push(Side::Right, item.as_deref().unwrap_or_default());
        }
        keys.set_value(destination, Value::List(list), Deadline::None)?;
        keys.notify(EventClasses::LIST, "sortstore", destination);
    }
    reply.count(output.len());
    Ok(())
}

/// Runs a request with patterns: as often as it takes to know its keys.
fn run_with_patterns(
    services: &dyn Services,
    database: u32,
    request: &Request,
    reply: &mut Reply<'_>,
) -> CommandResult {
    /// One run finds the keys of BY, the next those of GET; more are needed only if the elements change meanwhile.
    const RUNS_MAX: usize = 100;
    const NEVER_STILL: CommandError =
        CommandError::fixed("ERR the keys to sort by changed each time they were looked at");
    let mut locked = HashSet::new();
    for _ in 0..RUNS_MAX {
        let mut names = locked.clone();
        names.insert(request.key.clone());
        names.extend(request.store.clone());
        let names: Vec<Vec<u8>> = names.into_iter().collect();
        let mut missing = None;
        services.with_keys(database, &names, &mut |keys| {
            match run(keys, request, &locked)? {
                Ok(output) => finish(keys, request, &output, reply)?,
                Err(more) => missing = Some(more),
            }
            Ok(())
        })?;
        match missing {
            None => return Ok(()),
            Some(more) => locked.extend(more),
        }
    }
    Err(NEVER_STILL)
}

fn sort_generic(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    may_store: bool,
) -> CommandResult {
    let may_follow = || may_read_all_keys(context, arguments);
    let mut request = Request::parse(arguments, may_store, may_follow)?;
    request.is_nested = !context.may_block;
    if request.has_patterns() {
        let database = context.keys.database();
        context
            .offload(move |services, reply| run_with_patterns(services, database, &request, reply));
        return Ok(());
    }
    // Without patterns nothing can be missing.
    if let Ok(output) = run(&mut context.keys, &request, &HashSet::new())? {
        finish(&mut context.keys, &request, &output, reply)?;
    }
    Ok(())
}

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC|DESC] [ALPHA] [STORE destination]`
fn sort(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    sort_generic(context, arguments, reply, true)
}

/// SORT_RO: without STORE.
fn sort_ro(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    sort_generic(context, arguments, reply, false)
}

fn has_patterns(arguments: &[&[u8]]) -> bool {
    Request::parse(arguments, true, || true).is_ok_and(|request| request.has_patterns())
}

/// The source, and the destination behind STORE.
fn keys_of(arguments: &[&[u8]]) -> Vec<usize> {
    let mut keys = vec![1];
    let mut index = 2;
    while let Some(word) = arguments.get(index) {
        if is_keyword(word, "store") && index + 1 < arguments.len() {
            keys.truncate(1);
            keys.push(index + 1);
        }
        let values = match word {
            word if is_keyword(word, "limit") => 2,
            word if ["by", "get", "store"]
                .iter()
                .any(|known| is_keyword(word, known)) =>
            {
                1
            }
            _ => 0,
        };
        index += 1 + values;
    }
    keys
}

const COMPLEXITY: &str =
    "O(N+M*log(M)) for N elements read and M returned; O(N) if their order does not matter";

const CATEGORIES: Categories = Categories::SET
    .and(Categories::SORTED_SET)
    .and(Categories::LIST)
    .and(Categories::DANGEROUS);

const OF_PATTERNS: &str = "What BY and GET read depends on the elements.";

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        complexity: COMPLEXITY,
        // Patterns name keys that nobody can tell from the arguments.
        key_uses: &[
            KeyUse::READ.at(1, 1),
            KeyUse::READ.somewhere().noted(OF_PATTERNS),
            KeyUse::REPLACE.somewhere().noted("STORE may stand anywhere among the options."),
        ],
        categories: Some(CATEGORIES),
        summary: "Puts the elements of a list, set or sorted set in order; may store what comes out.",
        offloaded_if: Some(has_patterns),
        ..CommandSpec::new(
            "sort",
            -2,
            Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS),
            &[KeySpec::Found(keys_of)],
            Group::Generic,
            sort,
        )
    }.with_categories(Categories::DANGEROUS.and(Categories::LIST).and(Categories::SET).and(Categories::SORTED_SET))
    .with_syntax(
        "key [BY by-pattern{pattern}:pattern#1] [LIMIT offset:integer count:integer] \
         [GET get-pattern{pattern}:pattern#1]... order[ASC | DESC] [sorting=ALPHA] \
         [STORE destination:key]",
    ),
    CommandSpec {
        since: "7.0.0",
        complexity: COMPLEXITY,
        key_uses: &[
            KeyUse::READ.at(1, 1),
            KeyUse::READ.somewhere().noted(OF_PATTERNS),
        ],
        categories: Some(CATEGORIES),
        summary: "Does what SORT does, but never stores anything.",
        offloaded_if: Some(has_patterns),
        ..CommandSpec::new(
            "sort_ro",
            -2,
            Flags::READONLY.and(Flags::MOVABLE_KEYS),
            KeySpec::FIRST,
            Group::Generic,
            sort_ro,
        )
    }.with_categories(Categories::DANGEROUS.and(Categories::LIST).and(Categories::SET).and(Categories::SORTED_SET))
    .with_syntax(
        "key [BY by-pattern{pattern}:pattern#1] [LIMIT offset:integer count:integer] \
         [GET get-pattern{pattern}:pattern#1]... order[ASC | DESC] [sorting=ALPHA]",
    ),
];

#[cfg(test)]
mod tests {
    use super::{Pattern, keys_of};
    use crate::commands::test_support::TestServer;

    fn server() -> TestServer {
        let mut server = TestServer::new();
        for line in [
            "RPUSH l 3 1 10 2",
            "SADD s b a c",
            "ZADD z 1 y 2 x 3 w",
            "MSET w1 30 w2 20 w3 10 t1 one t2 two t3 three",
            "HSET h1 n 5",
            "HSET h2 n 4",
            "HSET h3 n 6",
        ] {
            server.run(line);
        }
        server
    }

    #[test]
    fn without_patterns() {
        server().check_all(&[
            ("SORT l", "[\"1\" \"2\" \"3\" \"10\"]"),
            ("SORT l DESC", "[\"10\" \"3\" \"2\" \"1\"]"),
            ("SORT l ALPHA", "[\"1\" \"10\" \"2\" \"3\"]"),
            ("SORT l LIMIT 1 2", "[\"2\" \"3\"]"),
            ("SORT l LIMIT -5 1", "[\"1\"]"),
            ("SORT l LIMIT 9 1", "[]"),
            ("SORT l LIMIT 2 -1", "[\"3\" \"10\"]"),
            ("SORT l BY nosort", "[\"3\" \"1\" \"10\" \"2\"]"),
            ("SORT l BY nosort DESC LIMIT 0 2", "[\"2\" \"10\"]"),
            ("SORT z BY nosort DESC LIMIT 1 5", "[\"x\" \"y\"]"),
            ("SORT s ALPHA DESC", "[\"c\" \"b\" \"a\"]"),
            (
                "SORT s",
                "-ERR One or more scores can't be converted into double",
            ),
            ("SORT l GET # GET fixed LIMIT 0 2", "[\"1\" nil \"2\" nil]"),
            ("SORT none", "[]"),
            ("SORT l STORE d", ":4"),
            ("LRANGE d 0 -1", "[\"1\" \"2\" \"3\" \"10\"]"),
            ("SORT s BY nosort STORE d", ":3"),
            ("LRANGE d 0 -1", "[\"a\" \"b\" \"c\"]"),
            ("SORT none STORE d", ":0"),
            ("EXISTS d", ":0"),
            (
                "SORT w1",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            ("SORT l LIMIT 1", "-ERR syntax error"),
            (
                "SORT l LIMIT x 1",
                "-ERR value is not an integer or out of range",
            ),
            ("SORT_RO l", "[\"1\" \"2\" \"3\" \"10\"]"),
            ("SORT_RO l STORE d", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn with_patterns() {
        server().check_all(&[
            ("SORT l BY w*", "[\"10\" \"3\" \"2\" \"1\"]"),
            ("SORT l BY h*->n LIMIT 0 3", "[\"10\" \"2\" \"1\"]"),
            (
                "SORT l BY w* GET # GET t* GET h*->n LIMIT 0 2",
                "[\"10\" nil nil \"3\" \"three\" \"6\"]",
            ),
            ("SORT l BY t* ALPHA", "[\"10\" \"1\" \"3\" \"2\"]"),
            (
                "SORT l BY t*",
                "-ERR One or more scores can't be converted into double",
            ),
            ("SORT l BY none*", "[\"1\" \"10\" \"2\" \"3\"]"),
            ("SORT l BY w* GET t* STORE d", ":4"),
            ("LRANGE d 0 -1", "[\"\" \"three\" \"two\" \"one\"]"),
            ("SORT l BY w* STORE l", ":4"),
            ("LRANGE l 0 -1", "[\"10\" \"3\" \"2\" \"1\"]"),
            ("SORT_RO l GET t*", "[\"one\" \"two\" \"three\" nil]"),
            ("SORT none BY w* STORE d", ":0"),
            ("EXISTS d", ":0"),
            (
                "SORT w1 BY w*",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ]);
    }

    #[test]
    fn patterns_name_keys_and_fields() {
        let cases = [
            ("w_*", "w_E", None),
            ("w_*_x", "w_E_x", None),
            ("*->f", "E", Some("f")),
            ("a*b->f->g", "aEb", Some("f->g")),
            ("a*->", "aE->", None),
            ("a->b*", "a->bE", None),
        ];
        for (text, key, field) in cases {
            let pattern = Pattern::parse(text.as_bytes()).expect("has a star");
            assert_eq!(pattern.key_of(b"E"), key.as_bytes());
            assert_eq!(pattern.field.as_deref(), field.map(str::as_bytes));
        }
        assert!(Pattern::parse(b"nosort").is_none());
    }

    #[test]
    fn the_destination_is_a_key() {
        let keys = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            keys_of(&words)
        };
        assert_eq!(keys("sort k"), [1]);
        assert_eq!(keys("sort k BY store DESC store d"), [1, 6]);
        assert_eq!(keys("sort k store a limit 0 1 STORE b"), [1, 8]);
        assert_eq!(keys("sort k store"), [1]);
    }
}
