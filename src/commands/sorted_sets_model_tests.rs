//! Every range of sorted sets, whatever it is given by, against a vector that is sorted and filtered.

use super::test_support::TestServer;
use proptest::prelude::*;
use std::cmp::Ordering;

type Members = Vec<(f64, String)>;

/// One end of a range as a client writes it, with what it admits.
#[derive(Clone, Debug)]
struct End {
    text: String,
    value: String,
    is_exclusive: bool,
}

fn rank_end() -> impl Strategy<Value = End> {
    (-12i64..12).prop_map(|rank| End {
        text: rank.to_string(),
        value: rank.to_string(),
        is_exclusive: false,
    })
}

fn score_end() -> impl Strategy<Value = End> {
    let score = prop_oneof![8 => (-4i32..5).prop_map(|score| score.to_string()), 1 => Just("-inf".into()), 1 => Just("+inf".into())];
    (score, any::<bool>()).prop_map(|(value, is_exclusive)| {
        let mark = if is_exclusive { "(" } else { "" };
        End {
            text: format!("{mark}{value}"),
            value,
            is_exclusive,
        }
    })
}

fn member_end() -> impl Strategy<Value = End> {
    let named = ("[a-d]{0,2}", any::<bool>()).prop_map(|(value, is_exclusive)| {
        let mark = if is_exclusive { '(' } else { '[' };
        End {
            text: format!("{mark}{value}"),
            value,
            is_exclusive,
        }
    });
    let open = prop::sample::select(vec!["-", "+"]);
    let open = open.prop_map(|text| End {
        text: text.into(),
        value: text.into(),
        is_exclusive: false,
    });
    prop_oneof![6 => named, 1 => open]
}

/// How a range is asked for.
#[derive(Clone, Debug)]
struct Request {
    by: &'static str,
    least: End,
    greatest: End,
    is_reverse: bool,
    limit: Option<(i64, i64)>,
}

fn request() -> impl Strategy<Value = Request> {
    let ends = prop_oneof![
        (Just(""), rank_end(), rank_end()),
        (Just("byscore"), score_end(), score_end()),
        (Just("bylex"), member_end(), member_end()),
    ];
    (ends, any::<bool>(), prop::option::of((-1i64..6, -2i64..6))).prop_map(
        |((by, least, greatest), is_reverse, limit)| Request {
            by,
            least,
            greatest,
            is_reverse,
            limit: limit.filter(|_| !by.is_empty()),
        },
    )
}

/// How a member compares with an end: `Greater` if it is behind it.
fn compare(by: &str, (score, member): &(f64, String), end: &End) -> Ordering {
    match (by, &*end.value) {
        ("bylex", "-") => Ordering::Greater,
        ("bylex", "+") => Ordering::Less,
        ("bylex", value) => member.as_str().cmp(value),
        (_, value) => score.total_cmp(&value.parse().expect("a number")),
    }
}

/// The members of a range in ascending order, LIMIT aside.
fn within(members: &Members, request: &Request) -> Members {
    if request.by.is_empty() {
        return within_ranks(members, request);
    }
    let admits = |order: Ordering, wanted: Ordering, end: &End| {
        order == wanted || order == Ordering::Equal && !end.is_exclusive
    };
    let inside = |member: &&(f64, String)| {
        admits(
            compare(request.by, member, &request.least),
            Ordering::Greater,
            &request.least,
        ) && admits(
            compare(request.by, member, &request.greatest),
            Ordering::Less,
            &request.greatest,
        )
    };
    members.iter().filter(inside).cloned().collect()
}

fn within_ranks(members: &Members, request: &Request) -> Members {
    let length = members.len() as i64;
    let rank_of = |end: &End| {
        let rank: i64 = end.value.parse().expect("a rank");
        if rank < 0 { rank + length } else { rank }
    };
    let (first, last) = (rank_of(&request.least), rank_of(&request.greatest));
    let rank_at = |index: i64| {
        if request.is_reverse {
            length - 1 - index
        } else {
            index
        }
    };
    let inside =
        |(index, _): &(usize, &(f64, String))| (first..=last).contains(&rank_at(*index as i64));
    members
        .iter()
        .enumerate()
        .filter(inside)
        .map(|(_, member)| member.clone())
        .collect()
}

fn expected(members: &Members, request: &Request) -> Members {
    let mut found = within(members, request);
    if request.is_reverse {
        found.reverse();
    }
    match request.limit {
        None => found,
        Some((offset, _)) if offset < 0 => Vec::new(),
        Some((offset, count)) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            found
                .into_iter()
                .skip(offset as usize)
                .take(count)
                .collect()
        }
    }
}

fn notation(members: &Members, with_scores: bool) -> String {
    let show = |(score, member): &(f64, String)| {
        if with_scores {
            format!("\"{member}\" \"{score}\"")
        } else {
            format!("\"{member}\"")
        }
    };
    let members: Vec<String> = members.iter().map(show).collect();
    format!("[{}]", members.join(" "))
}

/// The key's members, all of score 0 if members are going to be compared.
fn members(by: &str) -> impl Strategy<Value = Members> + use<> {
    let scores = if by == "bylex" { 0..1 } else { -4..5 };
    prop::collection::btree_map("[a-d]{1,3}", scores, 1..12).prop_map(|scores| {
        let mut members: Members = scores
            .into_iter()
            .map(|(member, score)| (f64::from(score), member))
            .collect();
        members.sort_by(|left, right| {
            left.0
                .total_cmp(&right.0)
                .then_with(|| left.1.cmp(&right.1))
        });
        members
    })
}

fn with_members(members: &Members) -> TestServer {
    let mut server = TestServer::new();
    let pairs: String = members
        .iter()
        .map(|(score, member)| format!(" {score} {member}"))
        .collect();
    server.check(&format!("zadd key{pairs}"), &format!(":{}", members.len()));
    server
}

fn case() -> impl Strategy<Value = (Members, Request)> {
    request().prop_flat_map(|request| (members(request.by), Just(request)))
}

/// The ends as they are written: reversed ranges of scores and members begin with the greater one.
fn written_ends(request: &Request) -> (&str, &str) {
    let (least, greatest) = (&*request.least.text, &*request.greatest.text);
    if request.is_reverse && !request.by.is_empty() {
        (greatest, least)
    } else {
        (least, greatest)
    }
}

proptest! {
    #[test]
    fn zrange_and_its_relatives((members, request) in case()) {
        let mut server = with_members(&members);
        let found = expected(&members, &request);
        let (first, last) = written_ends(&request);
        let limit = request.limit.map_or(String::new(), |(offset, count)| format!(" limit {offset} {count}"));
        let reverse = if request.is_reverse { " rev" } else { "" };
        let with_scores = request.by != "bylex";
        let scores = if with_scores { " withscores" } else { "" };
        let by = request.by;
        let line = format!("zrange key {first} {last} {by}{reverse}{limit}{scores}").replace("  ", " ");
        prop_assert_eq!(server.run(&line), notation(&found, with_scores), "{}", line);

        let older = match (by, request.is_reverse) {
            ("", false) => "zrange",
            ("", true) => "zrevrange",
            ("byscore", false) => "zrangebyscore",
            ("byscore", true) => "zrevrangebyscore",
            (_, false) => "zrangebylex",
            (_, true) => "zrevrangebylex",
        };
        let line = format!("{older} key {first} {last}{limit}{scores}");
        prop_assert_eq!(server.run(&line), notation(&found, with_scores), "{}", line);

        let line = format!("zrangestore copy key {first} {last} {by}{reverse}{limit}").replace("  ", " ");
        prop_assert_eq!(server.run(&line), format!(":{}", found.len()), "{}", line);
        let mut stored = found;
        stored.sort_by(|left, right| left.0.total_cmp(&right.0).then_with(|| left.1.cmp(&right.1)));
        prop_assert_eq!(server.run("zrange copy 0 -1 withscores"), notation(&stored, true));
    }

    #[test]
    fn counting_and_removing((members, mut request) in case()) {
        (request.is_reverse, request.limit) = (false, None);
        let mut server = with_members(&members);
        let found = within(&members, &request);
        let (least, greatest) = (&request.least.text, &request.greatest.text);
        let (count, remove) = match request.by {
            "" => (None, "zremrangebyrank"),
            "byscore" => (Some("zcount"), "zremrangebyscore"),
            _ => (Some("zlexcount"), "zremrangebylex"),
        };
        if let Some(count) = count {
            prop_assert_eq!(server.run(&format!("{count} key {least} {greatest}")), format!(":{}", found.len()));
        }
        prop_assert_eq!(server.run(&format!("{remove} key {least} {greatest}")), format!(":{}", found.len()));
        let left: Members = members.iter().filter(|member| !found.contains(member)).cloned().collect();
        prop_assert_eq!(server.run("zrange key 0 -1 withscores"), notation(&left, true));
    }
}
