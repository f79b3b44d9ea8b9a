//! DUMP and RESTORE at the end of a history: each server restores its own payload of every key and that of the other, and what
//! comes of it has to be what Redis had.

use super::agreement::{Judge, Verdict};
use super::grammar::Request;
use super::history::words;
use super::pair::{Difference, Side};
use super::values;
use crate::wire::Reply;

/// Where a payload is restored to.
const PLACE: &str = "restored";

/// The line that shows the whole value of a key of this type.
fn inspection(kind: &str, key: &[u8], is_exact: bool) -> Option<Request> {
    let line = match kind {
        "string" => "GET K",
        "list" => "LRANGE K 0 -1",
        "set" => "SMEMBERS K",
        "hash" => "HGETALL K",
        "zset" => "ZRANGE K 0 -1 WITHSCORES",
        // A restored stream has forgotten the places of deleted entries, and XINFO would show it.
        "stream" if is_exact => "XINFO STREAM K FULL COUNT 0",
        "stream" => "XRANGE K - +",
        _ => return None,
    };
    let mut line = words(line);
    let place = line.iter().position(|word| word == b"K")?;
    line[place] = key.to_vec();
    Some(line)
}

/// The version of the format, in front of the checksum.
fn version(payload: &[u8]) -> Option<u16> {
    let start = payload.len().checked_sub(10)?;
    let bytes = payload[start..start + 2].try_into().ok()?;
    Some(u16::from_le_bytes(bytes))
}

/// A key whose value the two servers agree about.
struct Dumped<'a> {
    kind: &'a str,
    /// What shows its value in Redis.
    expected: Reply,
    /// Larder's payload and Redis's.
    payloads: [&'a [u8]; 2],
}

/// Restores both payloads on a server; the first reply that is wrong.
fn restore(side: &mut Side, dumped: &Dumped<'_>, judge: Judge) -> Option<Difference> {
    let newest = version(dumped.payloads[1]);
    // What a younger payload is made of, the reference cannot know.
    let fit = |payload: &&[u8]| version(payload) <= newest;
    for payload in dumped.payloads.into_iter().filter(fit) {
        let restore: [&[u8]; 4] = [b"RESTORE", PLACE.as_bytes(), b"0", payload];
        let restore = restore.iter().map(|word| word.to_vec()).collect();
        let inspection = inspection(dumped.kind, PLACE.as_bytes(), judge.is_exact())?;
        let lines = [words(&format!("DEL {PLACE}")), restore, inspection];
        let replies = side.replies(&lines);
        let expected = [&Reply::ok(), &dumped.expected];
        let outcomes = lines.iter().zip(&replies).skip(1).zip(expected);
        for ((request, found), expected) in outcomes {
            if judge.judge(request, found, expected) == Verdict::Differ {
                return Some(Difference {
                    request: [request.clone(), vec![b"of".to_vec(), payload.to_vec()]].concat(),
                    found: found.clone(),
                    expected: expected.clone(),
                });
            }
        }
    }
    side.replies(&[words(&format!("DEL {PLACE}"))]);
    None
}

/// The first key that a restoring changes. The history is over, and its database is number 0.
pub fn first_difference(larder: &mut Side, redis: &mut Side, judge: Judge) -> Option<Difference> {
    let of_all = |command: &str| -> Vec<Request> {
        let keys = values::KEYS.iter();
        keys.map(|key| vec![command.into(), key.to_vec()]).collect()
    };
    // RESP2, whatever the history spoke: nothing here depends on it.
    let asked = [vec![words("RESET")], of_all("TYPE"), of_all("DUMP")].concat();
    let (by_larder, by_redis) = (larder.replies(&asked), redis.replies(&asked));
    let payloads = 1 + values::KEYS.len();
    for (index, key) in values::KEYS.iter().enumerate() {
        let (Reply::Simple(kind), Reply::Bulk(first), Reply::Bulk(second)) = (
            &by_redis[1 + index],
            &by_larder[payloads + index],
            &by_redis[payloads + index],
        ) else {
            continue;
        };
        let Some(inspection) = inspection(kind, key, judge.is_exact()) else {
            continue;
        };
        let dumped = Dumped {
            kind,
            expected: redis.replies(&[inspection]).pop()?,
            payloads: [first, second],
        };
        let difference = restore(larder, &dumped, judge);
        let difference = difference.or_else(|| restore(redis, &dumped, judge));
        if difference.is_some() {
            return difference;
        }
    }
    None
}
