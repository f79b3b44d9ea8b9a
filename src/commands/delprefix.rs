//! DELPREFIX, a command of Larder's own: deletes all keys that begin alike, wherever they are.
//!
//! What others do with SCAN and many DELs, fetching cold keys only to throw them away. Decision 0012 says what it promises.

use super::categories::Categories;
use super::context::Context;
use super::options::is_keyword;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;

/// DELPREFIX prefix [ASYNC|SYNC]
fn delprefix(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    const EMPTY: CommandError =
        CommandError::fixed("ERR the prefix is empty; FLUSHDB deletes all keys");
    let waits = match arguments[2..] {
        [] => false,
        [word] if is_keyword(word, "async") => false,
        [word] if is_keyword(word, "sync") => true,
        _ => return Err(CommandError::SYNTAX),
    };
    if arguments[1].is_empty() {
        return Err(EMPTY);
    }
    let (database, prefix) = (context.keys.database(), arguments[1].to_vec());
    context.offload(move |services, reply| {
        if waits {
            let deleted = services.delete_prefix(database, &prefix)?;
            reply.count(usize::try_from(deleted).unwrap_or(usize::MAX));
        } else {
            services.delete_prefix_in_background(database, prefix)?;
            reply.ok();
        }
        Ok(())
    });
    Ok(())
}

/// The row of this family.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    since: "7.2.4",
    complexity: "O(N) for N keys in the database",
    categories: Some(Categories::KEYSPACE.and(Categories::DANGEROUS)),
    summary: "Deletes all keys that begin with a prefix, in all tiers. SYNC waits and replies with their number. A command of Larder.",
    ..CommandSpec::new(
        "delprefix",
        -2,
        Flags::WRITE.and(Flags::OFFLOADED),
        KeySpec::NONE,
        Group::Generic,
        delprefix,
    )
}
    .with_syntax("prefix mode[ASYNC | SYNC]")];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    #[test]
    fn keys_that_begin_alike_go() {
        let mut server = TestServer::new();
        server.check_all(&[
            ("MSET user:1 a user:2 b users c other d", "+OK"),
            ("HSET user:3 f v", ":1"),
            ("DELPREFIX user: SYNC", ":3"),
            ("EXISTS user:1 user:3 users other", ":2"),
            ("DELPREFIX user: SYNC", ":0"),
            ("DELPREFIX us", "+OK"),
            ("DELPREFIX other ASYNC", "+OK"),
            ("DBSIZE", ":0"),
            (
                "DELPREFIX \"\" SYNC",
                "-ERR the prefix is empty; FLUSHDB deletes all keys",
            ),
            ("DELPREFIX a NOW", "-ERR syntax error"),
            (
                "DELPREFIX",
                "-ERR wrong number of arguments for 'delprefix' command",
            ),
        ]);
        let background = vec!["delete_prefix_in_background()".to_owned(); 2];
        assert_eq!(server.services.take_calls(), background);
    }
}
