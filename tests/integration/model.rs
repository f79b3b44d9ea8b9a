//! Random histories, step by step against a plain model and, where it is installed, against `redis-server`.
//!
//! Between the commands keys are sent to the cold tier, snapshots are taken, and the server is killed or ended and
//! started again in the same directory. Nothing of that may be visible to a client.
//!
//! A failing history is shrunk and kept in `proptest-regressions/`. The usual run takes [`USUAL_CASES`] histories; with
//! `PROPTEST_CASES` it takes so many times more as that is more than proptest's default of 256.

use crate::harness::{Reference, Server};
use crate::model_operations::{Command, Step, histories, shown};
use crate::model_state::{DATABASES, Model};
use crate::wire::{Client, Reply, encode};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const USUAL_CASES: u32 = 40;
const STEPS: usize = 60;
const PROPTEST_DEFAULT_CASES: u32 = 256;

/// A server, and what its state has to be.
struct History<'a> {
    server: Server,
    client: Client,
    model: Model,
    reference: Option<&'a RefCell<Client>>,
}

/// Replies whose order says nothing are sorted.
fn in_order(command: &Command, reply: Reply) -> Reply {
    match (&*command[0], reply) {
        (b"SMEMBERS", Reply::Array(mut members)) => {
            members.sort();
            Reply::Array(members)
        }
        (b"HGETALL", Reply::Array(items)) => {
            let mut pairs: Vec<&[Reply]> = items.chunks(2).collect();
            pairs.sort();
            Reply::Array(pairs.concat())
        }
        (_, reply) => reply,
    }
}

fn differs(what: String, found: &Reply, expected: &Reply, who: &str) -> TestCaseError {
    TestCaseError::fail(format!("{what}: Larder says {found:?}, {who} {expected:?}"))
}

impl History<'_> {
    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Run(command) => self.run(command),
            Step::Transaction(commands) => self.transaction(commands),
            Step::Demote(key) => self.demote(key),
            Step::DemoteAll => self.demote("ALL"),
            Step::Save => {
                let reply = self.client.line("SAVE");
                prop_assert_eq!(reply, Reply::ok());
                Ok(())
            }
            Step::Kill => {
                self.server.kill_and_restart();
                self.reconnect()?;
                self.compare_everything()
            }
            Step::Restart => {
                self.server.shut_down();
                self.server.start_again();
                self.reconnect()?;
                self.compare_everything()
            }
        }
    }

    fn run(&mut self, command: &Command) -> Result<(), TestCaseError> {
        let found = in_order(command, self.client.call(command));
        let expected = self.model.run(command);
        if found != expected {
            return Err(differs(shown(command), &found, &expected, "the model"));
        }
        if let Some(reference) = self.reference {
            let expected = in_order(command, reference.borrow_mut().call(command));
            if found != expected {
                return Err(differs(shown(command), &found, &expected, "redis-server"));
            }
        }
        Ok(())
    }

    fn transaction(&mut self, commands: &[Command]) -> Result<(), TestCaseError> {
        let sorted = |replies: Vec<Reply>| -> Vec<Reply> {
            commands
                .iter()
                .zip(replies)
                .map(|(command, reply)| in_order(command, reply))
                .collect()
        };
        let found = sorted(execute(&mut self.client, commands)?);
        let expected: Vec<Reply> = commands
            .iter()
            .map(|command| self.model.run(command))
            .collect();
        let what = || format!("{:?}", Step::Transaction(commands.to_vec()));
        if found != expected {
            return Err(differs(
                what(),
                &Reply::Array(found),
                &Reply::Array(expected),
                "the model",
            ));
        }
        if let Some(reference) = self.reference {
            let expected = sorted(execute(&mut reference.borrow_mut(), commands)?);
            if found != expected {
                return Err(differs(
                    what(),
                    &Reply::Array(found),
                    &Reply::Array(expected),
                    "redis-server",
                ));
            }
        }
        Ok(())
    }

    fn demote(&mut self, key: &str) -> Result<(), TestCaseError> {
        let reply = self.client.call(&["TIER", "DEMOTE", key]);
        prop_assert!(
            matches!(reply, Reply::Integer(_)),
            "TIER DEMOTE {}: {:?}",
            key,
            reply
        );
        Ok(())
    }

    fn reconnect(&mut self) -> Result<(), TestCaseError> {
        self.client = self.server.client();
        self.select(self.model.selected())
    }

    fn select(&mut self, database: usize) -> Result<(), TestCaseError> {
        let reply = self
            .client
            .call(&["SELECT".to_owned(), database.to_string()]);
        prop_assert_eq!(reply, Reply::ok());
        Ok(())
    }

    /// Every key of every database, its type, deadline and value; and that there are no others.
    fn compare_everything(&mut self) -> Result<(), TestCaseError> {
        let selected = self.model.selected();
        for database in 0..DATABASES {
            self.select(database)?;
            let mut view = self.model.clone();
            view.run(&[b"SELECT".to_vec(), database.to_string().into_bytes()]);
            let expected: BTreeSet<Vec<u8>> = view.keys(database).keys().cloned().collect();
            prop_assert_eq!(
                self.client.line("DBSIZE"),
                Reply::Integer(expected.len() as i64),
                "database {}",
                database
            );
            prop_assert_eq!(
                scan(&mut self.client),
                expected.clone(),
                "SCAN of database {}",
                database
            );
            for key in expected {
                let read: &[&str] = match view.keys(database)[&key].value.type_name() {
                    "string" => &["GET"],
                    "list" => &["LRANGE", "0", "-1"],
                    "set" => &["SMEMBERS"],
                    "hash" => &["HGETALL"],
                    _ => &["ZRANGE", "0", "-1", "WITHSCORES"],
                };
                for words in [&["TYPE"], &["PEXPIRETIME"], read] {
                    let mut command: Command =
                        words.iter().map(|word| word.as_bytes().to_vec()).collect();
                    command.insert(1, key.clone());
                    let found = in_order(&command, self.client.call(&command));
                    let expected = view.run(&command);
                    if found != expected {
                        let what = format!("{} in database {database}", shown(&command));
                        return Err(differs(what, &found, &expected, "the model"));
                    }
                }
            }
        }
        self.select(selected)
    }
}

/// MULTI, the commands, EXEC, in one piece; the replies of the commands.
fn execute(client: &mut Client, commands: &[Command]) -> Result<Vec<Reply>, TestCaseError> {
    let bytes: Vec<u8> = commands
        .iter()
        .flat_map(|command| encode(command))
        .collect();
    let sent = client.send_bytes(&[&encode(&["MULTI"])[..], &bytes, &encode(&["EXEC"])].concat());
    prop_assert!(sent.is_ok());
    prop_assert_eq!(client.read(), Reply::ok());
    for command in commands {
        prop_assert_eq!(
            client.read(),
            Reply::Simple("QUEUED".to_owned()),
            "{}",
            shown(command)
        );
    }
    match client.read() {
        Reply::Array(replies) => Ok(replies),
        other => Err(TestCaseError::fail(format!("EXEC: {other:?}"))),
    }
}

/// All keys that SCAN returns.
fn scan(client: &mut Client) -> BTreeSet<Vec<u8>> {
    let (mut keys, mut cursor) = (BTreeSet::new(), "0".to_owned());
    loop {
        let reply = client.call(&["SCAN", &cursor, "COUNT", "3"]);
        keys.extend(
            reply.items()[1]
                .items()
                .iter()
                .map(|key| key.bytes().to_vec()),
        );
        cursor = reply.items()[0].text();
        if cursor == "0" {
            return keys;
        }
    }
}

fn check_history(
    steps: &[Step],
    way: Way,
    reference: Option<&RefCell<Client>>,
) -> Result<(), TestCaseError> {
    if let Some(reference) = reference {
        let mut reference = reference.borrow_mut();
        for command in ["FLUSHALL", "SELECT 0"] {
            prop_assert_eq!(reference.line(command), Reply::ok());
        }
    }
    let server = Server::start(way.options);
    let _pressure = way.under_pressure.then(|| Pressure::on(server.port()));
    let client = server.client();
    let mut history = History {
        server,
        client,
        model: Model::default(),
        reference,
    };
    for (number, step) in steps.iter().enumerate() {
        history.take(step).map_err(|error| match error {
            TestCaseError::Fail(reason) => TestCaseError::fail(format!("step {number}: {reason}")),
            reject => reject,
        })?;
    }
    history.take(&Step::DemoteAll)?;
    history.compare_everything()?;
    history.take(&Step::Kill)
}

/// One way to run histories.
#[derive(Clone, Copy)]
struct Way {
    options: &'static str,
    /// Whether other data wants the memory all the time, so that keys are demoted whenever they are idle.
    under_pressure: bool,
    /// Share of all cases, in percent.
    share: u32,
    /// Where failing histories are kept.
    regressions: &'static str,
}

/// Somebody who writes more than fits into memory, in a database of their own, until dropped.
struct Pressure {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pressure {
    fn on(port: u16) -> Pressure {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let write = move || {
            while !seen.load(Ordering::Relaxed) {
                // While the server is down, it is tried again.
                std::thread::sleep(Duration::from_millis(5));
                if let Ok(client) = Client::connect(port) {
                    write_filler(client, &seen);
                }
            }
        };
        Pressure {
            is_over,
            thread: Some(std::thread::spawn(write)),
        }
    }
}

impl Drop for Pressure {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let joined = self.thread.take().map(JoinHandle::join);
        assert!(
            std::thread::panicking() || joined.is_none_or(|result| result.is_ok()),
            "nothing is refused"
        );
    }
}

/// Writes until the connection ends.
fn write_filler(mut client: Client, is_over: &AtomicBool) {
    const KEYS: usize = 30_000;
    const BATCH: usize = 100;
    let value = "filler ".repeat(150);
    if client.send_bytes(&encode(&["SELECT", "5"])).is_err() || client.try_read().is_err() {
        return;
    }
    for round in 0.. {
        let key = |number: usize| format!("filler:{}", (round * BATCH + number) % KEYS);
        let batch: Vec<u8> = (0..BATCH)
            .flat_map(|number| encode(&["SET", &key(number), &value]))
            .collect();
        if is_over.load(Ordering::Relaxed) || client.send_bytes(&batch).is_err() {
            return;
        }
        for _ in 0..BATCH {
            match client.try_read() {
                Ok(reply) => assert_eq!(reply, Reply::ok()),
                Err(_) => return,
            }
        }
    }
}

fn check_histories(way: Way) {
    let Way {
        options,
        share,
        regressions,
        ..
    } = way;
    let usual = Config::default();
    let asked = if std::env::var_os("PROPTEST_CASES").is_some() {
        usual.cases
    } else {
        PROPTEST_DEFAULT_CASES
    };
    let config = Config {
        cases: (asked * USUAL_CASES * share / 100 / PROPTEST_DEFAULT_CASES).max(1),
        max_shrink_iters: 150,
        max_shrink_time: 120_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(regressions))),
        ..usual
    };
    let reference = Reference::start();
    let reference_client = reference
        .as_ref()
        .map(|reference| RefCell::new(reference.client()));
    let result = TestRunner::new(config).run(&histories(STEPS), |steps| {
        check_history(&steps, way, reference_client.as_ref())
    });
    if let Err(failure) = result {
        panic!("with {options}: {failure}");
    }
}

#[test]
fn histories_with_all_tiers() {
    check_histories(Way {
        options: "--maxmemory 64mb",
        under_pressure: false,
        share: 40,
        regressions: "proptest-regressions/integration/all_tiers.txt",
    });
}

#[test]
fn histories_with_synced_log() {
    check_histories(Way {
        options: "--maxmemory 64mb --appendfsync always --snapshot-keep 1",
        under_pressure: false,
        share: 20,
        regressions: "proptest-regressions/integration/synced_log.txt",
    });
}

#[test]
fn histories_without_a_warm_tier() {
    check_histories(Way {
        options: "--maxmemory 64mb --warm-percent 0",
        under_pressure: false,
        share: 20,
        regressions: "proptest-regressions/integration/no_warm_tier.txt",
    });
}

#[test]
fn histories_under_memory_pressure() {
    check_histories(Way {
        options: "--maxmemory 24mb",
        under_pressure: true,
        share: 20,
        regressions: "proptest-regressions/integration/memory_pressure.txt",
    });
}
