//! Whatever happens before a crash, the server that comes back has the same keys, the same values, the same counts.

use super::mock_cold::MockCold;
use super::*;
use crate::keyspace::{Journal, Keys, Keyspace, Placement};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use storage_format::{Effect, Items, Side, ValueKind};

pub(super) const DATABASES: u32 = 2;
pub(super) const KEYS: usize = 10;

/// What clients believe: encoded value and deadline of every key of every database.
pub(super) type Model = BTreeMap<(u32, Vec<u8>), (ValueKind, Vec<u8>, Option<u64>)>;

/// A server without tiers and network: a keyspace and what makes it survive.
pub(super) struct Small {
    pub(super) keyspace: Arc<Keyspace>,
    pub(super) cold: Arc<MockCold>,
    pub(super) recovered: Recovered,
    journal: Journal,
}

pub(super) fn options(append_only: bool) -> RecoveryOptions {
    RecoveryOptions {
        append_only,
        segment_bytes: 512 << 10,
        relieve_interval_records: 3,
        ..RecoveryOptions::default()
    }
}

impl Small {
    pub(super) fn try_start(
        path: &Path,
        cold: Arc<MockCold>,
        options: RecoveryOptions,
    ) -> Result<Small, crate::error::InternalError> {
        let directory = DataDirectory::open(path)?;
        let keyspace = Arc::new(Keyspace::new(
            DATABASES,
            Placement::new(directory.hash_seed()),
        ));
        cold.attach(&keyspace);
        let store: Arc<dyn ColdStore> = cold.clone();
        let relieve = || {
            // Demoting in the middle of a replay is allowed.
            for number in 0..KEYS {
                cold.demote(&keyspace, 0, &key(number * 3), u64::MAX);
            }
        };
        let recovered = recover(directory, &keyspace, &store, options, &relieve)?;
        recovered.snapshotter.settle_journaling()?;
        Ok(Small {
            keyspace,
            cold,
            recovered,
            journal: Journal::default(),
        })
    }

    pub(super) fn start(path: &Path, cold: Arc<MockCold>) -> Small {
        Small::try_start(path, cold, options(true)).expect("the directory is in order")
    }

    /// Runs `work` on one key, resident and locked, as dispatch does.
    pub(super) fn with_key<R>(
        &mut self,
        database: u32,
        key: &[u8],
        work: impl FnOnce(&mut Keys<'_>) -> R,
    ) -> R {
        self.with_keys(database, &[key], work)
    }

    /// The same for several keys.
    pub(super) fn with_keys<R>(
        &mut self,
        database: u32,
        names: &[&[u8]],
        work: impl FnOnce(&mut Keys<'_>) -> R,
    ) -> R {
        let generation = self.keyspace.generation(database);
        let hashes: Vec<u64> = names.iter().map(|name| self.keyspace.hash(name)).collect();
        for (name, hash) in names.iter().zip(&hashes) {
            self.recovered
                .lazy
                .ensure_loaded(generation, *hash, &self.keyspace)
                .expect("the block is in order");
            self.cold.promote(&self.keyspace, database, name);
        }
        let recorder = self.recovered.journaling.recorder();
        let mut keys = Keys::lock(
            &self.keyspace,
            &hashes,
            &mut self.journal,
            &*recorder,
            database,
            1,
        );
        let result = work(&mut keys);
        keys.commit();
        result
    }

    pub(super) fn get(
        &mut self,
        database: u32,
        key: &[u8],
    ) -> Option<(ValueKind, Vec<u8>, Option<u64>)> {
        self.with_key(database, key, |keys| {
            let deadline_ms = keys.deadline_ms(key)?;
            let value = keys.value(key)?;
            let mut encoded = Vec::new();
            value.encode(&mut encoded);
            Some((value.kind(), encoded, deadline_ms))
        })
    }

    pub(super) fn flush(&mut self, database: u32) {
        let former = self.keyspace.generation(database);
        let generation = self.keyspace.take_generation();
        let mut shards = self.keyspace.lock_all();
        let recorder = self.recovered.journaling.recorder();
        self.journal.push_keyless(
            generation,
            Effect::FlushDatabase { database },
            recorder.keeps_effects(),
        );
        recorder.append(self.journal.effects());
        self.journal.clear();
        drop(
            self.keyspace
                .flush_database(&mut shards, database, generation),
        );
        drop(shards);
        self.recovered
            .journaling
            .ensure_durable(u64::MAX)
            .expect("synced");
        self.cold.drop_generation(former).expect("dropped");
        self.recovered
            .snapshotter
            .note_generations()
            .expect("written");
    }

    pub(super) fn swap(&mut self) {
        let mut shards = self.keyspace.lock_all();
        let recorder = self.recovered.journaling.recorder();
        self.journal.push_keyless(
            0,
            Effect::SwapDatabases {
                first: 0,
                second: 1,
            },
            recorder.keeps_effects(),
        );
        recorder.append(self.journal.effects());
        self.journal.clear();
        self.keyspace.swap_databases(&mut shards, 0, 1);
    }

    /// The process ends; of the cold writes since the last flush, `kept` survive.
    pub(super) fn crash(self, kept: usize) -> Arc<MockCold> {
        let cold = self.cold.clone();
        drop(self);
        cold.crash(kept);
        cold
    }
}

pub(super) fn key(number: usize) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Put {
        large: bool,
        deadline_ms: u64,
    },
    Append,
    SetRange,
    Delete,
    SetDeadline(u64),
    Push(Side),
    Pop(Side),
    SetAdd(u8),
    SetRemove(u8),
    HashSet(u8),
    SortedSetPut(u8),
    /// Several effects of one record.
    Twice,
}

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Change {
        database: u32,
        key: usize,
        change: Change,
    },
    /// One record: the first key is changed, the second, and the first again.
    Move {
        database: u32,
        keys: [usize; 2],
        changes: [Change; 2],
    },
    Demote {
        database: u32,
        key: usize,
    },
    ApplyDeletions,
    Snapshot,
    LoadOneBlock,
    Flush(u32),
    Swap,
    Crash {
        kept: usize,
        mode: Mode,
    },
}

/// How the log is replayed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    pub(super) workers: usize,
    /// So many records are replayed at a time; with one at a time, they are replayed in the order of the log.
    pub(super) at_a_time: u64,
    /// Nothing of the log's end is replayed before a key is touched.
    pub(super) waits: bool,
}

impl Mode {
    pub(super) fn options(self) -> RecoveryOptions {
        RecoveryOptions {
            workers: self.workers,
            relieve_interval_records: self.at_a_time,
            pending_records_min: 0,
            pending_bytes_max: if self.waits { u64::MAX } else { 0 },
            ..options(true)
        }
    }
}

fn modes() -> impl Strategy<Value = Mode> {
    let workers = prop_oneof![Just(1usize), Just(2), Just(3), Just(8)];
    let at_a_time = prop_oneof![Just(1u64), Just(3), Just(1000)];
    (workers, at_a_time, any::<bool>()).prop_map(|(workers, at_a_time, waits)| Mode {
        workers,
        at_a_time,
        waits,
    })
}

fn changes() -> impl Strategy<Value = Change> {
    let side = || prop_oneof![Just(Side::Left), Just(Side::Right)];
    prop_oneof![
        3 => (any::<bool>(), prop_oneof![Just(0u64), Just(1 << 45)]).prop_map(|(large, deadline_ms)| Change::Put { large, deadline_ms }),
        2 => Just(Change::Append),
        1 => Just(Change::SetRange),
        4 => Just(Change::Delete),
        2 => prop_oneof![Just(0u64), Just(1 << 44)].prop_map(Change::SetDeadline),
        2 => side().prop_map(Change::Push),
        3 => side().prop_map(Change::Pop),
        3 => (0u8..4).prop_map(Change::SetAdd),
        3 => (0u8..4).prop_map(Change::SetRemove),
        2 => (0u8..4).prop_map(Change::HashSet),
        2 => (0u8..4).prop_map(Change::SortedSetPut),
        3 => Just(Change::Twice),
    ]
}

pub(super) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let place = || (0..DATABASES, 0..KEYS);
    let operation = prop_oneof![
        30 => (place(), changes()).prop_map(|((database, key), change)| Operation::Change { database, key, change }),
        6 => (0..DATABASES, [0..KEYS, 0..KEYS], [changes(), changes()])
            .prop_map(|(database, keys, changes)| Operation::Move { database, keys, changes }),
        14 => place().prop_map(|(database, key)| Operation::Demote { database, key }),
        4 => Just(Operation::ApplyDeletions),
        3 => Just(Operation::Snapshot),
        2 => Just(Operation::LoadOneBlock),
        1 => (0..DATABASES).prop_map(Operation::Flush),
        1 => Just(Operation::Swap),
        3 => ((0usize..12), modes()).prop_map(|(kept, mode)| Operation::Crash { kept, mode }),
    ];
    proptest::collection::vec(operation, 1..150)
}

/// Applies a change; one that the value's type refuses changes nothing.
fn apply(keys: &mut Keys<'_>, key: &[u8], change: &Change, number: usize) {
    let text = vec![b'a' + (number % 26) as u8; 5];
    if let Change::Twice = change {
        let _ = keys.apply(key, Effect::Delete);
        let _ = keys.apply(
            key,
            Effect::SetAdd {
                members: Items::from(&[&text[..]]),
            },
        );
        let _ = keys.apply(
            key,
            Effect::SetAdd {
                members: Items::from(&[&b"other"[..]]),
            },
        );
        return;
    }
    let member = match change {
        Change::SetAdd(of)
        | Change::SetRemove(of)
        | Change::HashSet(of)
        | Change::SortedSetPut(of) => [b'm', *of],
        _ => [0; 2],
    };
    let (member, pair) = ([&member[..]], [&member[..], &text[..]]);
    let (long, item, scored) = (text.repeat(6000), [&text[..]], [(number as f64, member[0])]);
    let kind = ValueKind::String;
    let effect = match change {
        Change::Put {
            large: false,
            deadline_ms,
        } => Effect::Put {
            kind,
            deadline_ms: *deadline_ms,
            encoded: &text,
        },
        Change::Put {
            large: true,
            deadline_ms,
        } => Effect::Put {
            kind,
            deadline_ms: *deadline_ms,
            encoded: &long,
        },
        Change::Append => Effect::Append { bytes: &text },
        Change::SetRange => Effect::SetRange {
            offset: 3,
            bytes: &text,
        },
        Change::Delete | Change::Twice => Effect::Delete,
        Change::SetDeadline(deadline_ms) => Effect::SetDeadline {
            deadline_ms: *deadline_ms,
        },
        Change::Push(side) => Effect::ListPush {
            side: *side,
            items: Items::from(&item),
        },
        Change::Pop(side) => Effect::ListPop {
            side: *side,
            count: 1,
        },
        Change::SetAdd(_) => Effect::SetAdd {
            members: Items::from(&member),
        },
        Change::SetRemove(_) => Effect::SetRemove {
            members: Items::from(&member),
        },
        Change::HashSet(_) => Effect::HashSet {
            pairs: Items::from(&pair),
        },
        Change::SortedSetPut(_) => Effect::SortedSetPut {
            members: (&scored[..]).into(),
        },
    };
    let _ = keys.apply(key, effect);
}

/// The system under test beside what clients believe.
pub(super) struct Checked<'a> {
    pub(super) path: &'a Path,
    pub(super) server: Option<Small>,
    pub(super) model: Model,
}

impl Checked<'_> {
    fn server(&mut self) -> &mut Small {
        self.server.as_mut().expect("it runs")
    }

    pub(super) fn run(&mut self, number: usize, operation: &Operation) {
        match operation {
            Operation::Change {
                database,
                key: of,
                change,
            } => {
                let key = key(*of);
                self.server()
                    .with_key(*database, &key, |keys| apply(keys, &key, change, number));
                match self.server().get(*database, &key) {
                    Some(state) => drop(self.model.insert((*database, key), state)),
                    None => drop(self.model.remove(&(*database, key))),
                }
            }
            Operation::Move {
                database,
                keys,
                changes,
            } => self.run_move(number, *database, keys.map(key), changes),
            Operation::Demote { database, key: of } => {
                let server = self.server();
                server
                    .recovered
                    .journaling
                    .ensure_durable(u64::MAX)
                    .expect("synced");
                server
                    .cold
                    .demote(&server.keyspace, *database, &key(*of), u64::MAX);
            }
            Operation::ApplyDeletions => {
                let server = self.server();
                server
                    .recovered
                    .journaling
                    .ensure_durable(u64::MAX)
                    .expect("synced");
                server.cold.apply_deletions(&server.keyspace, u64::MAX);
            }
            Operation::Snapshot => drop(self.server().recovered.snapshotter.take().expect("taken")),
            Operation::LoadOneBlock => {
                let server = self.server();
                server
                    .recovered
                    .lazy
                    .load_next(&server.keyspace)
                    .expect("in order");
            }
            Operation::Flush(database) => {
                self.server().flush(*database);
                self.model.retain(|(of, _), _| of != database);
            }
            Operation::Swap => {
                self.server().swap();
                let swapped = std::mem::take(&mut self.model).into_iter();
                self.model = swapped
                    .map(|((database, key), state)| ((1 - database, key), state))
                    .collect();
            }
            Operation::Crash { kept, mode } => self.crash(*kept, *mode),
        }
    }

    fn run_move(
        &mut self,
        number: usize,
        database: u32,
        names: [Vec<u8>; 2],
        changes: &[Change; 2],
    ) {
        let [one, other] = &names;
        self.server().with_keys(database, &[one, other], |keys| {
            apply(keys, one, &changes[0], number);
            apply(keys, other, &changes[1], number);
            apply(keys, one, &changes[1], number);
        });
        for name in names {
            match self.server().get(database, &name) {
                Some(state) => drop(self.model.insert((database, name), state)),
                None => drop(self.model.remove(&(database, name))),
            }
        }
    }

    fn crash(&mut self, kept: usize, mode: Mode) {
        let cold = self.server.take().expect("it runs").crash(kept);
        let started = Small::try_start(self.path, cold, mode.options());
        self.server = Some(started.expect("the directory is in order"));
        self.check_counts();
    }

    fn check_counts(&mut self) {
        for database in 0..DATABASES {
            let keys = self.model.iter().filter(|((of, _), _)| *of == database);
            let expected = keys.clone().count() as u64;
            assert_eq!(
                self.server().keyspace.key_counts(database).0,
                expected,
                "keys of database {database}"
            );
        }
    }

    fn check(&mut self) {
        self.check_counts();
        for database in 0..DATABASES {
            for number in 0..KEYS {
                let expected = self.model.get(&(database, key(number))).cloned();
                assert_eq!(
                    self.server().get(database, &key(number)),
                    expected,
                    "key {number} of database {database}"
                );
            }
        }
        self.check_counts();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn recovery_gives_back_what_clients_believe(operations in operations(), last in (modes(), modes())) {
        let temporary = tempfile::tempdir().expect("a directory");
        let server = Small::start(temporary.path(), Arc::new(MockCold::default()));
        let mut checked = Checked { path: temporary.path(), server: Some(server), model: Model::new() };
        for (number, operation) in operations.iter().enumerate() {
            checked.run(number, operation);
        }
        checked.crash(usize::MAX, last.0);
        checked.check();
        checked.crash(0, last.1);
        checked.check();
    }
}
