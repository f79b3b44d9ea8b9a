//! DEBUG DIGEST and DEBUG DIGEST-VALUE: a number that is the same for the same content, whatever its history, tier or encoding.
//!
//! What has no order (keys, members of sets, fields) is combined by exclusive or, so that order does not matter. The digests are not
//! those of Redis, which are SHA-1 of its own; only comparing two of Larder's means anything. Not for secrets.

use super::context::Context;
use super::generic::without_touch;
use crate::error::CommandResult;
use crate::resp::Reply;
use crate::value::Value;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

/// 160 bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Digest([u64; 3]);

impl Digest {
    /// Of these byte strings in this order.
    fn of(parts: &[&[u8]]) -> Digest {
        Digest([1, 2, 3].map(|seed| {
            let mut hasher = foldhash::quality::FixedState::with_seed(seed).build_hasher();
            for part in parts {
                hasher.write_usize(part.len());
                hasher.write(part);
            }
            hasher.finish()
        }))
    }

    /// Of a value and of whether its key has a deadline.
    fn of_value(value: &Value, has_deadline: bool) -> Digest {
        let content = match value {
            Value::Set(set) => set.iter().map(|member| Digest::of(&[member])).collect(),
            Value::Hash(hash) => hash
                .iter()
                .map(|(field, value)| {
                    let has_deadline = hash.field_deadline_ms(field).is_some();
                    Digest::of(&[field, value, &[u8::from(has_deadline)]])
                })
                .collect(),
            ordered => {
                let mut encoded = Vec::new();
                ordered.encode(&mut encoded);
                Digest::of(&[&encoded])
            }
        };
        let kind = [value.kind() as u8, u8::from(has_deadline)];
        Digest::of(&[&kind, content.to_string().as_bytes()])
    }
}

impl FromIterator<Digest> for Digest {
    fn from_iter<T: IntoIterator<Item = Digest>>(digests: T) -> Digest {
        digests.into_iter().fold(Digest::default(), |sum, digest| {
            Digest([0, 1, 2].map(|index| sum.0[index] ^ digest.0[index]))
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third] = self.0;
        write!(formatter, "{first:016x}{second:016x}{:08x}", third as u32)
    }
}

/// The digest of each key's value; zeros for one that is not there.
pub(super) fn debug_digest_value(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    super::debug::allow_debug(context)?;
    reply.array_header(arguments.len() - 2);
    for key in &arguments[2..] {
        let found = without_touch(&mut context.keys, |keys| {
            Some((keys.value(key)?, keys.deadline_ms(key)?))
        });
        let digest =
            found.map(|(value, deadline_ms)| Digest::of_value(&value, deadline_ms.is_some()));
        reply.simple(digest.unwrap_or_default().to_string());
    }
    Ok(())
}

/// The digest of all databases, in all tiers; zeros if there is no key.
pub(super) fn debug_digest(
    context: &mut Context<'_>,
    _: &[&[u8]],
    _: &mut Reply<'_>,
) -> CommandResult {
    super::debug::allow_debug(context)?;
    let databases = context.keys.databases();
    context.offload(move |services, reply| {
        let mut digests = Vec::new();
        for database in 0..databases {
            services.each_value(database, &mut |key, value, deadline_ms| {
                let value = Digest::of_value(value, deadline_ms.is_some());
                let place = database.to_le_bytes();
                digests.push(Digest::of(&[&place, key, value.to_string().as_bytes()]));
            })?;
        }
        reply.simple(digests.into_iter().collect::<Digest>().to_string());
        Ok(())
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    fn digest(lines: &[&str]) -> String {
        let mut server = TestServer::new();
        server.settings.debug_command = crate::config::DebugCommand::Yes;
        for line in lines {
            server.run(line);
        }
        server.run("DEBUG DIGEST")
    }

    #[test]
    fn the_same_content_has_the_same_digest_whatever_its_history() {
        let all = digest(&[
            "HSET h a 1 b 2",
            "SADD s x y",
            "RPUSH l 1 2",
            "ZADD z 1 a 2 b",
            "SET t v",
        ]);
        let other = digest(&[
            "SET t w",
            "SET t v",
            "ZADD z 2 b 3 a",
            "ZADD z 1 a",
            "RPUSH l 2",
            "LPUSH l 1",
            "SADD s y x z",
            "SREM s z",
            "HSET h b 2",
            "HSET h a 1",
        ]);
        assert_eq!(all, other);
        assert_eq!(all.len(), 41);
        assert_eq!(digest(&[]), format!("+{}", "0".repeat(40)));
    }

    #[test]
    fn another_content_has_another_digest() {
        let contents: [&[&str]; 12] = [
            &["SET a v"],
            &["SET b v"],
            &["SET a w"],
            &["SET a v", "EXPIRE a 100"],
            &["SELECT 1", "SET a v"],
            &["RPUSH a 1 2"],
            &["RPUSH a 2 1"],
            &["SADD a 1 2"],
            &["HSET a 1 2"],
            &["HSET a 2 1"],
            &["HSET a 1 2", "HEXPIRE a 100 FIELDS 1 1"],
            &["ZADD a 1 2"],
        ];
        let digests: std::collections::BTreeSet<String> =
            contents.iter().map(|lines| digest(lines)).collect();
        assert_eq!(digests.len(), contents.len());
    }

    #[test]
    fn values_do_not_depend_on_their_keys() {
        let mut server = TestServer::new();
        server.settings.debug_command = crate::config::DebugCommand::Yes;
        server.check("SADD a x y", ":2");
        server.check("SADD b y x", ":2");
        let reply = server.run("DEBUG DIGEST-VALUE a b none");
        let words: Vec<&str> = reply.trim_matches(['[', ']']).split(' ').collect();
        assert_eq!(words[0], words[1]);
        assert_eq!(words[2], format!("+{}", "0".repeat(40)));
    }
}
