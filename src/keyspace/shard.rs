//! A 256th of the keyspace behind one lock: the tables of all databases, and what the tiers need to know of them.

use super::entry::{Entry, EntryRef, NewBody};
use super::pre_image::PreImage;
use super::table::{Place, Table};
use super::tables::Tables;
use hashbrown::HashMap;

/// A snapshot that is being walked.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The snapshot holds what is not newer than this.
    pub lsn: u64,
    /// The generations that were current at the cut and, for each, the first hash that the walk has not passed;
    /// `None` when it has passed all of this shard.
    pub unwalked_from: Vec<(u32, Option<u64>)>,
}

/// A deletion that the cold tier has to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingDeletion {
    /// Generation of the key's database.
    pub generation: u32,
    /// Placement hash of the key.
    pub hash: u64,
    /// The key.
    pub key: Box<[u8]>,
}

/// See the module's comment.
#[derive(Default)]
pub struct Shard {
    /// By database number.
    pub tables: Tables,
    /// How often an entry left this shard for another tier, or lost its cold record. A fetch that was started at one count may install what it
    /// found only if the count is still the same: else the key may have been here, and changed, in between.
    pub departures: u64,
    /// Tombstones whose cold records still stand.
    pub deletions: Vec<PendingDeletion>,
    /// The deadline that a key's cold record has, where the live entry has another one by now (0: none).
    pub cold_deadlines: HashMap<(u32, Box<[u8]>), u64>,
    /// The snapshot being taken, if there is one.
    pub cut: Option<Cut>,
}

impl Shard {
    /// The table of a database, made if need be.
    pub fn table_mut(&mut self, database: u32) -> &mut Table {
        self.tables.get_or_make(database as usize)
    }

    /// The table of a database, if it was ever used.
    pub fn table(&self, database: u32) -> Option<&Table> {
        self.tables.get(database as usize)
    }

    /// Finds a key; tombstones are found too.
    pub fn find(&self, database: u32, hash: u64, key: &[u8]) -> Option<Place> {
        self.table(database)?.find(hash, key)
    }

    /// The entry at a place that was just found.
    pub fn entry(&self, database: u32, place: Place) -> EntryRef<'_> {
        self.tables[database as usize].entry(place)
    }

    /// Leaves the former state of an entry for a running snapshot, if the walk still needs it. To be called before
    /// the entry is changed or removed.
    #[inline]
    pub fn keep_pre_image(&mut self, database: u32, generation: u32, place: Place, hash: u64) {
        if self.cut.is_some() {
            self.keep_pre_image_of_cut(database, generation, place, hash);
        }
    }

    #[cold]
    fn keep_pre_image_of_cut(&mut self, database: u32, generation: u32, place: Place, hash: u64) {
        let Some(cut) = &self.cut else { return };
        let walked = match cut
            .unwalked_from
            .iter()
            .find(|(cut_generation, _)| *cut_generation == generation)
        {
            Some((_, Some(unwalked_from))) => hash < *unwalked_from,
            _ => true,
        };
        if walked {
            return;
        }
        let lsn = cut.lsn;
        let entry = self.tables[database as usize].entry(place);
        if entry.lsn() > lsn {
            return;
        }
        if let Some(value) = entry.to_value() {
            let image = PreImage {
                hash,
                key: entry.key().into(),
                value,
                deadline_ms: entry.deadline_ms(),
                lsn: entry.lsn(),
            };
            self.tables[database as usize]
                .segment_mut(hash)
                .pre_images
                .push(image);
        }
    }

    /// The deadline in the key's cold record, as the deadline index of the cold tier has it.
    pub fn cold_deadline_ms(&self, generation: u32, entry: &EntryRef<'_>) -> Option<u64> {
        if !self.cold_deadlines.is_empty()
            && let Some(deadline_ms) = self
                .cold_deadlines
                .get(&(generation, Box::from(entry.key())))
        {
            return (*deadline_ms != 0).then_some(*deadline_ms);
        }
        entry.deadline_ms()
    }

    /// Remembers the cold record's deadline before the live entry's deadline changes to `new_ms`.
    #[inline]
    pub fn note_cold_deadline(
        &mut self,
        database: u32,
        generation: u32,
        place: Place,
        new_ms: Option<u64>,
    ) {
        let entry = self.entry(database, place);
        if entry.has_cold_record() && entry.deadline_ms() != new_ms {
            let (key, former) = (Box::from(entry.key()), entry.deadline_ms().unwrap_or(0));
            self.cold_deadlines
                .entry((generation, key))
                .or_insert(former);
        }
    }

    /// Removes a live entry. If the key has a cold record, a tombstone takes its place until that record is removed.
    /// The tombstone is pending: it gets its LSN with the record that says why.
    pub fn remove_live(&mut self, database: u32, generation: u32, place: Place, hash: u64) {
        self.keep_pre_image(database, generation, place, hash);
        let entry = self.tables[database as usize].entry(place);
        let had_deadline = entry.deadline_ms().is_some();
        let tombstone = entry.has_cold_record().then(|| {
            let cold_deadline_ms = self.cold_deadline_ms(generation, &entry);
            let mut tombstone = Entry::new(entry.key(), NewBody::Tombstone, cold_deadline_ms);
            tombstone.set_cold_record(true);
            tombstone
        });
        match tombstone {
            Some(mut tombstone) => {
                let key: Box<[u8]> = tombstone.key().into();
                if !self.cold_deadlines.is_empty() {
                    self.cold_deadlines.remove(&(generation, key.clone()));
                }
                self.deletions.push(PendingDeletion {
                    generation,
                    hash,
                    key,
                });
                tombstone.set_lsn(super::entry::PENDING_LSN);
                self.tables[database as usize].change(place, |entry| *entry = tombstone);
            }
            None => drop(self.tables[database as usize].remove(place)),
        }
        let table = &mut self.tables[database as usize];
        table.key_balance -= 1;
        table.deadline_balance -= i64::from(had_deadline);
    }
}
