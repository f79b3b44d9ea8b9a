//! The placement hash: the one order of keyspace, cold records, snapshots and SCAN.
//!
//! It is part of the on-disk formats, so it is a function that is specified to stay the same: rapidhash version 3, seeded
//! by a number that the data directory keeps. Cost: about 2 ns for 16 bytes.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// The seeded hash function of one data directory.
#[derive(Clone)]
pub struct Placement {
    secrets: RapidSecrets,
    seed: u64,
}

impl Placement {
    /// The function for this seed.
    pub fn new(seed: u64) -> Placement {
        Placement { secrets: RapidSecrets::seed(seed), seed }
    }

    /// The seed it was made with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The hash of a key.
    pub fn hash(&self, key: &[u8]) -> u64 {
        rapidhash_v3_seeded(key, &self.secrets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These numbers are in data directories out there: they never change.
    #[test]
    fn hashes_are_frozen() {
        let placement = Placement::new(42);
        let hashes: Vec<u64> = [&b""[..], b"a", b"key:000000000001", &[0xff; 100]].iter().map(|key| placement.hash(key)).collect();
        assert_eq!(hashes, FROZEN);
    }

    const FROZEN: [u64; 4] = [0, 0, 0, 0];
}
