//! A keyspace with tiers behind it and a log that only counts.

use super::super::{
    Cold, ColdBudget, Durability, EventSink, KeyRequest, Loader, Ports, Residency, Tier,
    TierSettings,
};
use crate::clock;
use crate::error::InternalError;
use crate::keyspace::{
    Deadline, EventClasses, Journal, KeyEvent, Keys, Keyspace, Placement, Recorder, Temperature,
};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use storage_format::record::{
    ColdHeader, ColdKey, DeadlineKey, OF_A_FIELD_FLAG, decode_deadline_value,
};
use tempfile::TempDir;

/// Gives out LSNs, and knows up to where it was told to be durable.
#[derive(Default)]
pub struct TestLog {
    last_lsn: AtomicU64,
    pub durable_lsn: AtomicU64,
    pub fails: AtomicBool,
    pub full: AtomicBool,
    /// Set: all events are wanted.
    pub listens: AtomicBool,
    pub events: Mutex<Vec<KeyEvent>>,
    /// The names of rounds whose time was told.
    pub rounds: Mutex<Vec<&'static str>>,
    /// Runs once, the next time that durability is asked for: in the middle of a batch.
    pub interruption: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl TestLog {
    /// The LSN of the last record.
    pub fn last_lsn(&self) -> u64 {
        self.last_lsn.load(Ordering::SeqCst)
    }
}

impl Recorder for TestLog {
    fn append(&self, _effects: &[u8]) -> u64 {
        self.last_lsn.fetch_add(1, Ordering::SeqCst) + 1
    }
    fn has_room(&self, _bytes: usize) -> bool {
        !self.full.load(Ordering::SeqCst)
    }
    fn keeps_effects(&self) -> bool {
        true
    }
}

impl EventSink for TestLog {
    fn listens_to(&self) -> EventClasses {
        if self.listens.load(Ordering::SeqCst) {
            EventClasses::ALL
        } else {
            EventClasses::NONE
        }
    }
    fn publish(&self, events: Vec<KeyEvent>) {
        self.events.lock().extend(events);
    }

    fn hears_writes(&self) -> bool {
        false
    }

    fn written(&self, _keys: Vec<(u32, Box<[u8]>)>) {}

    fn took(&self, event: &'static str, _time: std::time::Duration) {
        self.rounds.lock().push(event);
    }
}

impl Durability for TestLog {
    fn ensure_durable(&self, lsn: u64) -> Result<(), InternalError> {
        assert!(
            lsn <= self.last_lsn.load(Ordering::SeqCst),
            "nothing is written before it is in the log"
        );
        let interruption = self.interruption.lock().take();
        if let Some(interruption) = interruption {
            interruption();
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(InternalError::Other("the disk is full".into()));
        }
        self.durable_lsn.fetch_max(lsn, Ordering::SeqCst);
        Ok(())
    }
}

/// See the module's comment.
pub struct Fixture {
    pub keyspace: Arc<Keyspace>,
    pub tier: Arc<Tier>,
    pub log: Arc<TestLog>,
    pub directory: Arc<TempDir>,
}

impl Fixture {
    /// With a cold tier and without background threads that move keys.
    pub fn new() -> Fixture {
        Fixture::with(
            TierSettings {
                maxmemory_bytes: 0,
                ..TierSettings::default()
            },
            true,
        )
    }

    pub fn with(settings: TierSettings, has_cold: bool) -> Fixture {
        Fixture::with_loader(settings, has_cold, |_| Arc::new(()))
    }

    /// While a restart is not finished.
    pub fn with_loader(
        settings: TierSettings,
        has_cold: bool,
        loader: impl FnOnce(&Arc<Keyspace>) -> Arc<dyn Loader>,
    ) -> Fixture {
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let keyspace = Arc::new(Keyspace::new(4, Placement::new(7)));
        let budget = ColdBudget::for_maxmemory(24 << 20);
        let cold = has_cold.then(|| {
            Arc::new(Cold::open(directory.path().join("cold"), budget).expect("RocksDB opens"))
        });
        let log = Arc::new(TestLog::default());
        let ports = Ports {
            recorder: log.clone(),
            durability: log.clone(),
            loader: loader(&keyspace),
            events: log.clone(),
        };
        let tier = Tier::new(Arc::clone(&keyspace), cold, ports, settings);
        tier.pool.start(2, tier.cold.as_ref()).expect("threads");
        Fixture {
            keyspace,
            tier,
            log,
            directory,
        }
    }

    pub fn cold(&self) -> &Cold {
        self.tier.cold.as_deref().expect("made with a cold tier")
    }

    /// Runs what a command would, with its key resident.
    pub fn run<R>(
        &self,
        database: u32,
        key: &[u8],
        only_looks: bool,
        command: impl FnOnce(&mut Keys<'_>) -> R,
    ) -> R {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let hash = self.keyspace.hash(key);
        let mut journal = Journal::default();
        let mut fetched = None;
        loop {
            let now_ms = clock::now_ms();
            let mut keys = Keys::lock(
                &self.keyspace,
                &[hash],
                &mut journal,
                &*self.log,
                database,
                now_ms,
            );
            let generation = self.keyspace.generation(database);
            let request = KeyRequest {
                database,
                generation,
                hash,
                key,
                only_looks,
                now_ms,
            };
            let residency = self
                .tier
                .resolve(keys.shard_mut(hash), &request, fetched.as_ref())
                .expect("resolved");
            match residency {
                Residency::Fetch(ticket) => {
                    drop(keys);
                    let found = runtime.block_on(self.tier.fetch(&ticket)).expect("read");
                    assert!(found.is_for(&request));
                    fetched = Some(found);
                    continue;
                }
                Residency::Lent(entry) => keys.lend(database, entry),
                Residency::Present | Residency::Absent => {}
            }
            let result = command(&mut keys);
            keys.commit();
            return result;
        }
    }

    pub fn set(&self, key: &[u8], value: &[u8], deadline_ms: Option<u64>) {
        let deadline = deadline_ms.map_or(Deadline::None, Deadline::At);
        self.run(0, key, false, |keys| keys.set_text(key, value, deadline))
            .expect("set");
    }

    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.run(0, key, true, |keys| {
            keys.text(key).expect("a text").map(<[u8]>::to_vec)
        })
    }

    pub fn delete(&self, key: &[u8]) -> bool {
        self.run(0, key, false, |keys| keys.delete(key))
            .expect("deleted")
    }

    pub fn temperature(&self, key: &[u8]) -> Option<Temperature> {
        self.tier.temperature(0, key).expect("told")
    }

    /// All keys, by SCAN with this COUNT.
    pub fn scan(&self, count: usize) -> Vec<Vec<u8>> {
        let (mut all, mut cursor) = (Vec::new(), 0);
        loop {
            let mut found = |key: &[u8]| all.push(key.to_vec());
            cursor = self
                .tier
                .scan(0, cursor, count, &|_| true, None, &mut found)
                .expect("scanned");
            if cursor == 0 {
                return all;
            }
        }
    }

    /// Empties a database as FLUSHDB does.
    pub fn flush(&self, database: u32) {
        let former = self.keyspace.generation(database);
        let generation = self.keyspace.take_generation();
        let mut shards = self.keyspace.lock_all();
        drop(
            self.keyspace
                .flush_database(&mut shards, database, generation),
        );
        drop(shards);
        self.tier.drop_generation(former).expect("dropped");
    }

    /// Every record with a deadline has exactly one index entry, which names its version.
    pub fn check_index(&self) {
        check_index(self.cold());
    }
}

/// As [`Fixture::check_index`]. Entries of generations without records are left over from a flush.
pub fn check_index(cold: &Cold) {
    let mut expected = Vec::new();
    let mut records = cold.database.raw_iterator_cf(&cold.records());
    records.seek_to_first();
    let mut generations = std::collections::HashSet::new();
    while let Some((key, value)) = records.item() {
        let key = ColdKey::decode(key).expect("a cold key");
        let (header, _) = ColdHeader::decode(value).expect("a record");
        generations.insert(key.generation);
        if header.deadline_ms != 0 {
            expected.push((
                header.deadline_ms,
                key.generation,
                key.hash,
                key.key.to_vec(),
                header.lsn,
            ));
        }
        records.next();
    }
    expected.sort();
    let mut indexed = Vec::new();
    let mut index = cold.database.raw_iterator_cf(&cold.deadlines());
    index.seek_to_first();
    while let Some((key, value)) = index.item() {
        let key = DeadlineKey::decode(key).expect("an index key");
        let ColdKey {
            generation,
            hash,
            key: name,
        } = key.cold_key;
        let lsn = decode_deadline_value(value).expect("an index value");
        if generations.contains(&generation) && lsn & OF_A_FIELD_FLAG == 0 {
            indexed.push((key.deadline_ms, generation, hash, name.to_vec(), lsn));
        }
        index.next();
    }
    assert_eq!(indexed, expected);
}

/// Opens the store of a fixture that is gone.
pub fn reopen(directory: &Path) -> Cold {
    Cold::open(directory.join("cold"), ColdBudget::for_maxmemory(24 << 20))
        .expect("RocksDB opens again")
}

/// A text that does not compress well.
pub fn text_of(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let step = |state: &mut u64| {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 40) as u8
    };
    (0..length).map(|_| step(&mut state)).collect()
}
