//! DUMP and RESTORE of streams against `redis-server`, in both directions: groups, consumers, pending and deleted entries, empty streams.

use crate::harness::{Reference, Server};
use crate::wire::{Client, Reply};

/// The same "random" numbers every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 ^ self.0 >> 32) % limit
    }
}

/// The history of a stream `s`, entries first: some share fields, some do not, and the second half of an ID goes up and down. A
/// consumer's last look always finds something: only 7.2 can tell that from a look in vain, and the installed server may be older.
fn history(random: &mut Random, entries: u64) -> Vec<String> {
    let mut lines = vec!["XGROUP CREATE s early 0 MKSTREAM".to_owned()];
    for number in 1..=entries {
        let (time, place) = (number / 3, number % 3);
        let sequence = (place + 1) * (random.below(9) + 100 * place) + 1;
        let fields = match random.below(4) {
            0 => format!("own {number} field-{} v", random.below(5)),
            1 => {
                let text = "x".repeat(1 + random.below(200) as usize);
                format!("name {} text {text}", number * number)
            }
            _ => format!("name -{number} text word"),
        };
        lines.push(format!("XADD s {time}-{sequence} {fields}"));
    }
    if entries > 3 {
        let count = 1 + random.below(entries - 3);
        lines.push(format!(
            "XREADGROUP GROUP early ann COUNT {count} STREAMS s >"
        ));
        lines.push("XREADGROUP GROUP early bob COUNT 2 STREAMS s >".to_owned());
        lines.push("XGROUP CREATE s middle 1-0".to_owned());
    }
    if random.below(2) == 0 {
        lines.push(format!("XTRIM s MAXLEN {}", entries / 2));
    }
    lines.push("XGROUP CREATE s late $".to_owned());
    lines.push(format!("XADD s {entries}-1 last one"));
    lines.push("XREADGROUP GROUP late -7 STREAMS s >".to_owned());
    match random.below(4) {
        0 => lines.push(format!("XDEL s {entries}-1")),
        1 => lines.push("XTRIM s MAXLEN 0".to_owned()),
        2 => lines.push(format!("XSETID s {entries}-9")),
        _ => {}
    }
    lines
}

/// Deletes or acknowledges some entries, by the IDs that are there.
fn thin_out(client: &mut Client, random: &mut Random) {
    for entry in client.line("XRANGE s - +").items() {
        let id = entry.items()[0].text();
        match random.below(8) {
            0 => assert_eq!(client.line(&format!("XDEL s {id}")).integer(), 1),
            1 => assert!(client.line(&format!("XACK s early {id}")).integer() <= 1),
            _ => {}
        }
    }
}

/// The reply without what tells of nodes, and of what only some versions know.
fn comparable(reply: &Reply) -> Reply {
    const LEFT_OUT: [&[u8]; 3] = [b"radix-tree-keys", b"radix-tree-nodes", b"active-time"];
    let Reply::Array(items) = reply else {
        return reply.clone();
    };
    let mut kept = Vec::new();
    let mut items = items.iter();
    while let Some(item) = items.next() {
        if matches!(item, Reply::Bulk(name) if LEFT_OUT.contains(&&name[..])) {
            items.next();
        } else {
            kept.push(comparable(item));
        }
    }
    Reply::Array(kept)
}

fn state(client: &mut Client) -> Vec<Reply> {
    [
        "XINFO STREAM s FULL COUNT 0",
        "XINFO STREAM s",
        "XINFO GROUPS s",
    ]
    .map(|line| comparable(&client.line(line)))
    .to_vec()
}

#[test]
fn redis_and_larder_restore_the_streams_that_the_other_dumps() {
    let Some(reference) = Reference::start() else {
        return;
    };
    let server = Server::start("");
    let (mut larder, mut redis) = (server.client(), reference.client());
    let mut random = Random(3);
    for round in 0..60 {
        let entries = [0, 1, 5, 99, 100, 101, 350][round % 7];
        let lines = history(&mut random, entries);
        let (from, to) = if round % 2 == 0 {
            (&mut redis, &mut larder)
        } else {
            (&mut larder, &mut redis)
        };
        from.line("DEL s");
        for line in &lines {
            let reply = from.line(line);
            assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
        }
        thin_out(from, &mut random);
        let payload = from.line("DUMP s").bytes().to_vec();
        let restored = to.call(&[&b"RESTORE"[..], b"s", b"0", &payload, b"REPLACE"]);
        assert_eq!(restored, Reply::ok(), "round {round}: {lines:?}");
        assert_eq!(state(to), state(from), "round {round}: {lines:?}");
        // And it lives on in the same way.
        for line in [
            "XADD s 1000-1 name 1 text t",
            "XREADGROUP GROUP late -7 COUNT 1 STREAMS s >",
            "XACK s late 1000-1",
            "XINFO GROUPS s",
        ] {
            assert_eq!(to.line(line), from.line(line), "round {round}: {line}");
        }
    }
}

/// Only the newest form tells that a consumer never got anything, and it comes back.
#[test]
fn a_consumer_that_never_got_anything_comes_back() {
    let server = Server::start("");
    let mut client = server.client();
    client.ok("XGROUP CREATE s readers $ MKSTREAM");
    client.line("XGROUP CREATECONSUMER s readers ann");
    let before = client.line("XINFO STREAM s FULL");
    let payload = client.line("DUMP s").bytes().to_vec();
    assert_eq!(payload[payload.len() - 10..payload.len() - 8], [11, 0]);
    let restored = client.call(&[&b"RESTORE"[..], b"s", b"0", &payload, b"REPLACE"]);
    assert_eq!(restored, Reply::ok());
    assert_eq!(client.line("XINFO STREAM s FULL"), before);
}
