//! SUBSCRIBE, PUBLISH and their relatives.
//!
//! The subscriptions of a client are noted in its session, so that UNSUBSCRIBE without arguments and the counts in the replies need
//! no search; who listens to a channel is known to [`crate::pubsub::PubSub`] alone. The replies of this family are pushes
//! in RESP3, one for each channel.

use super::access::{KeyFlags, KeyUse};
use super::context::Context;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::pubsub::ChannelKind;
use crate::resp::Reply;

/// Writes one confirmation.
fn confirm(reply: &mut Reply<'_>, word: &str, topic: Option<&[u8]>, count: usize) {
    reply.push_header(3);
    reply.bulk(word.as_bytes());
    reply.bulk_or_null(topic);
    reply.count(count);
}

fn subscribe_to(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    kind: ChannelKind,
) {
    let word = match kind {
        ChannelKind::Channel => "subscribe",
        ChannelKind::Pattern => "psubscribe",
        ChannelKind::Shard => "ssubscribe",
    };
    for topic in &arguments[1..] {
        context.services.subscribe(context.session, kind, topic);
        let count = context.session.subscription_count(kind);
        confirm(reply, word, Some(topic), count);
    }
}

fn unsubscribe_from(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    kind: ChannelKind,
) {
    let word = match kind {
        ChannelKind::Channel => "unsubscribe",
        ChannelKind::Pattern => "punsubscribe",
        ChannelKind::Shard => "sunsubscribe",
    };
    let mut topics: Vec<Box<[u8]>> = arguments[1..]
        .iter()
        .map(|topic| Box::from(*topic))
        .collect();
    if topics.is_empty() {
        let all = &context.session.subscriptions[kind.index()];
        topics = all.iter().cloned().collect();
        if topics.is_empty() {
            let count = context.session.subscription_count(kind);
            return confirm(reply, word, None, count);
        }
    }
    for topic in topics {
        context.services.unsubscribe(context.session, kind, &topic);
        let count = context.session.subscription_count(kind);
        confirm(reply, word, Some(&topic), count);
    }
}

fn subscribe(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    subscribe_to(context, arguments, reply, ChannelKind::Channel);
    Ok(())
}

fn psubscribe(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    subscribe_to(context, arguments, reply, ChannelKind::Pattern);
    Ok(())
}

fn ssubscribe(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    subscribe_to(context, arguments, reply, ChannelKind::Shard);
    Ok(())
}

fn unsubscribe(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    unsubscribe_from(context, arguments, reply, ChannelKind::Channel);
    Ok(())
}

fn punsubscribe(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    unsubscribe_from(context, arguments, reply, ChannelKind::Pattern);
    Ok(())
}

fn sunsubscribe(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    unsubscribe_from(context, arguments, reply, ChannelKind::Shard);
    Ok(())
}

/// PUBLISH channel message
fn publish(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let services = context.services;
    reply.count(services.publish(ChannelKind::Channel, arguments[1], arguments[2]));
    Ok(())
}

/// SPUBLISH shardchannel message
fn spublish(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let services = context.services;
    reply.count(services.publish(ChannelKind::Shard, arguments[1], arguments[2]));
    Ok(())
}

fn write_topics(
    context: &Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    kind: ChannelKind,
) {
    let topics = context.services.topics(kind, arguments.get(2).copied());
    reply.array_header(topics.len());
    topics.iter().for_each(|topic| reply.bulk(topic));
}

fn channels(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    write_topics(context, arguments, reply, ChannelKind::Channel);
    Ok(())
}

fn shard_channels(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    write_topics(context, arguments, reply, ChannelKind::Shard);
    Ok(())
}

fn write_counts(context: &Context<'_>, topics: &[&[u8]], reply: &mut Reply<'_>, kind: ChannelKind) {
    reply.array_header(topics.len() * 2);
    for topic in topics {
        reply.bulk(topic);
        reply.count(context.services.subscribers(kind, topic));
    }
}

fn numsub(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    write_counts(context, &arguments[2..], reply, ChannelKind::Channel);
    Ok(())
}

fn shard_numsub(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    write_counts(context, &arguments[2..], reply, ChannelKind::Shard);
    Ok(())
}

fn numpat(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.count(context.services.topic_count(ChannelKind::Pattern));
    Ok(())
}

const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    Lists the channels that have subscribers and whose names fit <pattern>.",
    "NUMPAT",
    "    Tells how many patterns clients are subscribed to.",
    "NUMSUB [<channel> ...]",
    "    Tells for each of these channels how many are subscribed to it by name;",
    "    patterns do not count.",
    "SHARDCHANNELS [<pattern>]",
    "    Lists the shard channels that have subscribers and whose names fit <pattern>.",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Tells for each of these shard channels how many are subscribed to it.",
];

fn help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    super::client::write_help("PUBSUB", HELP, reply);
    Ok(())
}

fn container(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::wrong_arity("pubsub"))
}

const SUBSCRIBING: Flags = Flags::PUBSUB
    .and(Flags::NOSCRIPT)
    .and(Flags::LOADING)
    .and(Flags::STALE);
const PUBLISHING: Flags = Flags::PUBSUB
    .and(Flags::MAY_REPLICATE)
    .and(Flags::LOADING)
    .and(Flags::STALE)
    .and(Flags::FAST);
const ASKING: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE);

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    function: super::CommandFunction,
) -> CommandSpec {
    CommandSpec::new(name, arity, flags, KeySpec::NONE, Group::PubSub, function)
}

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "2.0.0",
        complexity: "O(N) for N channels",
        summary: "Has what is published to channels sent to this connection.",
        ..row("subscribe", -2, SUBSCRIBING, subscribe)
    }
    .with_syntax("channel..."),
    CommandSpec {
        since: "2.0.0",
        complexity: "O(N) for N channels",
        summary: "Ends subscriptions to channels, to all if none is named.",
        ..row("unsubscribe", -1, SUBSCRIBING, unsubscribe)
    }
    .with_syntax("[channel...]"),
    CommandSpec {
        since: "2.0.0",
        complexity: "O(N) for N patterns",
        summary: "Has what is published to channels with fitting names sent to this connection.",
        ..row("psubscribe", -2, SUBSCRIBING, psubscribe)
    }
    .with_syntax("pattern:pattern..."),
    CommandSpec {
        since: "2.0.0",
        complexity: "O(N) for N patterns",
        summary: "Ends subscriptions to patterns, to all if none is named.",
        ..row("punsubscribe", -1, SUBSCRIBING, punsubscribe)
    }
    .with_syntax("[pattern:pattern...]"),
    CommandSpec {
        since: "7.0.0",
        complexity: "O(N) for N channels",
        summary: "Has what is published to shard channels sent to this connection.",
        ..row("ssubscribe", -2, SUBSCRIBING, ssubscribe)
    }.with_key_uses(&[KeyUse::of(KeyFlags::NOT_KEY).at(1, -1)])
    .with_syntax("shardchannel..."),
    CommandSpec {
        since: "7.0.0",
        complexity: "O(N) for N channels",
        summary: "Ends subscriptions to shard channels, to all if none is named.",
        ..row("sunsubscribe", -1, SUBSCRIBING, sunsubscribe)
    }.with_key_uses(&[KeyUse::of(KeyFlags::NOT_KEY).at(1, -1)])
    .with_syntax("[shardchannel...]"),
    CommandSpec {
        since: "2.0.0",
        complexity: "O(N+M) for N subscribers of the channel and M patterns of all clients together",
        summary: "Sends a message to all subscribers of a channel.",
        ..row("publish", 3, PUBLISHING, publish)
    }
    .with_syntax("channel message"),
    CommandSpec {
        since: "7.0.0",
        complexity: "O(N) for N subscribers",
        summary: "Sends a message to all subscribers of a shard channel.",
        ..row("spublish", 3, PUBLISHING, spublish)
    }.with_key_uses(&[KeyUse::of(KeyFlags::NOT_KEY).at(1, 1)])
    .with_syntax("shardchannel message"),
    CommandSpec {
        since: "2.8.0",
        complexity: "That of the subcommand",
        summary: "Tells about channels and their subscribers.",
        subcommands: &[
            CommandSpec {
                since: "2.8.0",
                complexity: "O(N) for N channels with subscribers",
                summary: "Lists the channels that have subscribers.",
                ..row("channels", -2, ASKING, channels)
            }.with_syntax("[pattern:pattern]"),
            CommandSpec {
                since: "2.8.0",
                summary: "Tells how many patterns clients are subscribed to.",
                ..row("numpat", 2, ASKING, numpat)
            },
            CommandSpec {
                since: "2.8.0",
                complexity: "O(N) for N channels",
                summary: "Tells how many subscribers channels have.",
                ..row("numsub", -2, ASKING, numsub)
            }.with_syntax("[channel...]"),
            CommandSpec {
                since: "7.0.0",
                complexity: "O(N) for N channels with subscribers",
                summary: "Lists the shard channels that have subscribers.",
                ..row("shardchannels", -2, ASKING, shard_channels)
            }.with_syntax("[pattern:pattern]"),
            CommandSpec {
                since: "7.0.0",
                complexity: "O(N) for N channels",
                summary: "Tells how many subscribers shard channels have.",
                ..row("shardnumsub", -2, ASKING, shard_numsub)
            }.with_syntax("[shardchannel...]"),
            CommandSpec {
                since: "6.2.0",
                summary: "Lists the subcommands and what each is for.",
                ..row("help", 2, Flags::LOADING.and(Flags::STALE), help)
            },
        ],
        ..row("pubsub", -2, Flags::NONE, container)
    },
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    #[test]
    fn replies_count_channels_and_patterns_together_and_shard_channels_apart() {
        let mut server = TestServer::new();
        server.check_all(&[
            (
                "SUBSCRIBE a b",
                r#"["subscribe" "a" :1] ["subscribe" "b" :2]"#,
            ),
            ("PSUBSCRIBE p*", r#"["psubscribe" "p*" :3]"#),
            ("SSUBSCRIBE s", r#"["ssubscribe" "s" :1]"#),
            ("PING", r#"["pong" ""]"#),
            ("PING x", r#"["pong" "x"]"#),
            ("UNSUBSCRIBE b", r#"["unsubscribe" "b" :2]"#),
            ("UNSUBSCRIBE", r#"["unsubscribe" "a" :1]"#),
            ("UNSUBSCRIBE", r#"["unsubscribe" nil :1]"#),
            ("UNSUBSCRIBE zz", r#"["unsubscribe" "zz" :1]"#),
            ("PUNSUBSCRIBE", r#"["punsubscribe" "p*" :0]"#),
            ("SUNSUBSCRIBE", r#"["sunsubscribe" "s" :0]"#),
            ("PING", "+PONG"),
            ("PUBLISH c m", ":1"),
            ("PUBSUB NUMSUB aa bbb", r#"["aa" :2 "bbb" :3]"#),
            ("PUBSUB NUMPAT", ":1"),
        ]);
    }
}
