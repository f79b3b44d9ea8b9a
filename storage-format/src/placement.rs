//! The placement hash: the one order of keyspace, cold records, snapshots and SCAN (FORMAT.md section 1.4).
//!
//! It is part of the formats, because keys are stored in its order; so it stands here, where the offline tools find keys with it
//! too, and is a function that is specified to stay the same: rapidhash version 3. Cost: about 2 ns for 16 bytes.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// The seeded hash function of one data directory.
#[derive(Debug, Clone)]
pub struct Placement {
    secrets: RapidSecrets,
    seed: u64,
}

impl Placement {
    /// The function for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            secrets: RapidSecrets::seed(seed),
            seed,
        }
    }

    /// The seed that it was made with.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The hash of a key.
    #[inline]
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> u64 {
        rapidhash_v3_seeded(key, &self.secrets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data directories are ordered by these numbers: they never change. One length for each of the function's branches.
    #[test]
    fn hashes_are_frozen() {
        let lengths = [0usize, 1, 3, 4, 8, 16, 17, 48, 80, 112, 113, 300];
        let hash = |seed, length| Placement::new(seed).hash(&vec![b'k'; length]);
        let hashes = lengths.map(|length| hash(42, length));
        assert_eq!(hashes, FROZEN);
        assert_eq!([hash(0, 5), hash(u64::MAX, 5)], FROZEN_BY_SEED);
    }

    const FROZEN: [u64; 12] = [
        0x1d21_990a_c0f5_440f,
        0x8572_e99b_76ae_65b6,
        0xe995_77e5_b23f_92fc,
        0x8c16_9bde_0a6c_b294,
        0xb072_af14_d439_77b6,
        0xed07_07db_bb47_7a4f,
        0x9984_a8ff_0d03_11ba,
        0x0ccc_8a77_85c0_c06d,
        0x7b2f_915a_3a00_9919,
        0xec3f_2aba_1b08_6d06,
        0xbe84_7d40_ba5e_b61c,
        0x4281_0944_3f52_3a67,
    ];
    const FROZEN_BY_SEED: [u64; 2] = [0x0435_89d0_b83f_536c, 0x88f8_5561_c507_5cde];
}
