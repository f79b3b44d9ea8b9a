//! MIGRATE: keys move to another server, which may be a Redis.
//!
//! Nothing is locked while the other server is waited for: the keys are dumped under their locks, sent without them, and deleted
//! under them again once the other server has confirmed each, unless somebody has written to them in between. Such a key
//! stays, and the reply says so. Redis holds up all of its clients instead.
//! Cost: all payloads are in memory at once, and a connection is opened for each call.

use super::access::{KeyFlags, KeyUse};
use super::categories::Categories;
use super::context::Context;
use super::options::{Options, integer, is_keyword};
use super::services::Services;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Keys;
use crate::resp::Reply;
use storage_format::rdb::payload;

const CHANGED: CommandError = CommandError::fixed(
    "ERR a key was changed while it was being migrated: it is in both servers now, and may differ",
);

/// Where to, in which time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherServer {
    /// A name or an address.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// For connecting, for each write and each reply, in milliseconds.
    pub timeout_ms: u64,
}

/// A request, its options read.
struct Migration {
    target: OtherServer,
    database: i64,
    copies: bool,
    replaces: bool,
    /// AUTH or AUTH2: what AUTH will be given.
    credentials: Vec<Vec<u8>>,
    names: Vec<Vec<u8>>,
}

impl Migration {
    fn parse(arguments: &[&[u8]]) -> Result<Migration, CommandError> {
        const KEY_AND_KEYS: CommandError = CommandError::fixed(
            "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
        );
        const BAD_PORT: CommandError = CommandError::fixed("ERR Invalid TCP port specified");
        let (mut copies, mut replaces, mut credentials) = (false, false, Vec::new());
        let mut names = vec![arguments[3].to_vec()];
        let mut options = Options::new(arguments, 6);
        while let Some(word) = options.next() {
            if is_keyword(word, "copy") {
                copies = true;
            } else if is_keyword(word, "replace") {
                replaces = true;
            } else if is_keyword(word, "auth") {
                credentials = vec![options.value()?.to_vec()];
            } else if is_keyword(word, "auth2") {
                credentials = vec![options.value()?.to_vec(), options.value()?.to_vec()];
            } else if is_keyword(word, "keys") {
                if !arguments[3].is_empty() {
                    return Err(KEY_AND_KEYS);
                }
                names = options.by_ref().map(<[u8]>::to_vec).collect();
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        const TIMEOUT_DEFAULT_MS: u64 = 1000;
        let timeout_ms = integer(arguments[5])?;
        let database = integer(arguments[4])?;
        Ok(Migration {
            target: OtherServer {
                host: String::from_utf8_lossy(arguments[1]).into_owned(),
                port: u16::try_from(integer(arguments[2])?).map_err(|_| BAD_PORT)?,
                timeout_ms: u64::try_from(timeout_ms)
                    .ok()
                    .filter(|timeout_ms| *timeout_ms > 0)
                    .unwrap_or(TIMEOUT_DEFAULT_MS),
            },
            database,
            copies,
            replaces,
            credentials,
            names,
        })
    }

    /// The commands for the other server, and the keys that exist, each with the LSN of what is sent.
    fn dump(
        &self,
        keys: &mut Keys<'_>,
        request: &mut Vec<u8>,
    ) -> Result<Vec<(Vec<u8>, u64)>, CommandError> {
        if !self.credentials.is_empty() {
            let mut words = vec![&b"AUTH"[..]];
            words.extend(self.credentials.iter().map(Vec::as_slice));
            put_command(request, &words);
        }
        put_command(request, &[b"SELECT", self.database.to_string().as_bytes()]);
        let mut sent: Vec<(Vec<u8>, u64)> = Vec::new();
        for name in &self.names {
            let Some(value) = keys.value(name) else {
                continue;
            };
            let deadline_ms = keys.deadline_ms(name).flatten();
            let left_ms = deadline_ms.map_or(0, |deadline_ms| {
                deadline_ms.saturating_sub(keys.now_ms()).max(1)
            });
            let mut encoded = Vec::new();
            value.encode(&mut encoded);
            let payload = payload::encode(value.kind(), &encoded).map_err(|error| {
                CommandError::new(format!("ERR DUMP cannot serialize: {error}"))
            })?;
            let left_ms = left_ms.to_string();
            let mut words = vec![&b"RESTORE"[..], name, left_ms.as_bytes(), &payload];
            if self.replaces {
                words.push(b"REPLACE");
            }
            put_command(request, &words);
            sent.push((name.clone(), keys.lsn(name)));
        }
        Ok(sent)
    }

    fn run(
        &self,
        services: &dyn Services,
        from_database: u32,
        reply: &mut Reply<'_>,
    ) -> CommandResult {
        let (mut request, mut sent) = (Vec::new(), Vec::new());
        services.with_keys(from_database, &self.names, &mut |keys| {
            request.clear();
            sent = self.dump(keys, &mut request)?;
            Ok(())
        })?;
        if sent.is_empty() {
            reply.simple("NOKEY");
            return Ok(());
        }
        let greetings = 1 + usize::from(!self.credentials.is_empty());
        let mut replies = Vec::new();
        let asked =
            services.ask_other(&self.target, &request, greetings + sent.len(), &mut replies);
        drop(request);
        let refusal = replies.iter().find(|line| line.starts_with(b"-")).cloned();
        let (welcome, restored) = replies.split_at(greetings.min(replies.len()));
        let is_welcome = !welcome.iter().any(|line| line.starts_with(b"-"));
        let arrived = (sent.iter().zip(restored))
            .filter(|(_, line)| is_welcome && !line.starts_with(b"-"))
            .map(|(sent, _)| sent);
        let arrived: Vec<&(Vec<u8>, u64)> = arrived.collect();
        let all_deleted = self.copies || self.delete(services, from_database, &arrived)?;
        if let Some(refusal) = refusal {
            return Err(CommandError::new(format!(
                "ERR Target instance replied with error: {}",
                String::from_utf8_lossy(&refusal[1..])
            )));
        }
        asked?;
        if !all_deleted {
            return Err(CHANGED);
        }
        reply.ok();
        Ok(())
    }

    /// Deletes what has arrived there; false if something was changed in between and stays.
    fn delete(
        &self,
        services: &dyn Services,
        database: u32,
        arrived: &[&(Vec<u8>, u64)],
    ) -> Result<bool, CommandError> {
        let mut all_deleted = true;
        let names: Vec<Vec<u8>> = arrived.iter().map(|(name, _)| name.clone()).collect();
        if !names.is_empty() {
            services.with_keys(database, &names, &mut |keys| {
                for (name, lsn) in arrived.iter().copied() {
                    if keys.lsn(name) == *lsn {
                        keys.delete_and_notify(name)?;
                    } else {
                        all_deleted &= !keys.exists(name);
                    }
                }
                Ok(())
            })?;
        }
        Ok(all_deleted)
    }
}

/// Appends a command.
fn put_command(request: &mut Vec<u8>, words: &[&[u8]]) {
    request.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
}

/// `MIGRATE host port key|"" database timeout [COPY] [REPLACE] [AUTH password | AUTH2 user password] [KEYS key ...]`
fn migrate(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    let migration = Migration::parse(arguments)?;
    let from_database = context.keys.database();
    context.offload(move |services, reply| migration.run(services, from_database, reply));
    Ok(())
}

/// The key argument, or, if it is empty, what follows KEYS.
fn keys_of(arguments: &[&[u8]]) -> Vec<usize> {
    if arguments.get(3).is_some_and(|key| !key.is_empty()) {
        return vec![3];
    }
    let mut index = 6;
    while let Some(word) = arguments.get(index) {
        if is_keyword(word, "keys") {
            return (index + 1..arguments.len()).collect();
        }
        index += match word {
            _ if is_keyword(word, "auth") => 2,
            _ if is_keyword(word, "auth2") => 3,
            _ => 1,
        };
    }
    Vec::new()
}

const MOVED: KeyUse = KeyUse::of(KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE));

/// The row of this family.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    since: "2.6.0",
    complexity: "O(N) for values of size N together",
    summary: "Moves keys to another server, or copies them.",
    tips: &["nondeterministic_output"],
    ..CommandSpec::new(
        "migrate",
        -6,
        Flags::WRITE.and(Flags::OFFLOADED).and(Flags::MOVABLE_KEYS),
        &[KeySpec::Found(keys_of)],
        Group::Generic,
        migrate,
    )
}
.with_key_uses(&[
    MOVED.at(3, 3),
    MOVED.and(KeyFlags::INCOMPLETE).after("KEYS", -2, -1, 0),
])
.with_categories(Categories::KEYSPACE.and(Categories::DANGEROUS))
.with_syntax(
    "host port:integer key-selector<key | empty-string='\"\"'> destination-db:integer \
     timeout:integer [COPY]@3.0.0 [REPLACE]@3.0.0 \
     authentication[AUTH auth{password}@4.0.7 | <AUTH2 username password>@6.0.0] \
     [KEYS keys{key}:key...]@3.0.6",
)];

#[cfg(test)]
mod tests {
    use super::keys_of;
    use crate::commands::test_support::TestServer;

    #[test]
    fn what_arrived_is_deleted_here() {
        let mut server = TestServer::new();
        server.check_all(&[
            ("MSET a 1 b 2 c 3", "+OK"),
            ("MIGRATE host 7 none 0 10", "+NOKEY"),
            (
                "MIGRATE host 7 a 3 10 COPY REPLACE AUTH2 user secret",
                "+OK",
            ),
            ("EXISTS a", ":1"),
            ("MIGRATE host 7 \"\" 0 10 KEYS a none b", "+OK"),
            ("EXISTS a b c", ":1"),
        ]);
        let calls = server.services.take_calls();
        assert_eq!(calls.len(), 2, "{calls:?}");
        for part in [
            "host:7",
            "AUTH",
            "user",
            "secret",
            "SELECT",
            "$1\\r\\n3",
            "RESTORE",
            "REPLACE",
        ] {
            assert!(calls[0].contains(part), "{part}: {}", calls[0]);
        }
        assert!(!calls[1].contains("AUTH") && !calls[1].contains("REPLACE"));
        assert_eq!(calls[1].matches("RESTORE").count(), 2);
    }

    #[test]
    fn errors() {
        let mut server = TestServer::new();
        server.check_all(&[
            (
                "MIGRATE host 7 key 0 10 KEYS a",
                "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
            ),
            ("MIGRATE host 7 key 0 10 AUTH", "-ERR syntax error"),
            ("MIGRATE host 7 key 0 10 AUTH2 user", "-ERR syntax error"),
            ("MIGRATE host 7 key 0 10 FOO", "-ERR syntax error"),
            (
                "MIGRATE host 7 key zero 10",
                "-ERR value is not an integer or out of range",
            ),
            (
                "MIGRATE host 7 key 0 soon",
                "-ERR value is not an integer or out of range",
            ),
        ]);
    }

    #[test]
    fn keys_are_found() {
        let find = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            keys_of(&words)
        };
        assert_eq!(find("migrate h 7 key 0 10"), [3]);
        assert_eq!(find("migrate h 7  0 10 copy keys a b"), [8, 9]);
        assert_eq!(find("migrate h 7  0 10 auth keys keys a"), [9]);
        assert_eq!(find("migrate h 7  0 10 auth2 u keys keys a"), [10]);
        assert!(find("migrate h 7  0 10 copy").is_empty());
    }
}
