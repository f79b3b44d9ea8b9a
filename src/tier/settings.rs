//! The part of the settings that the tiers act on.

/// What is done when memory (without a cold tier) or the disk (with one) is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MaxmemoryPolicy {
    /// Writes that need memory are refused.
    #[default]
    NoEviction,
    /// The key whose last use is longest ago.
    AllKeysLru,
    /// The key that is used least often.
    AllKeysLfu,
    /// Any key.
    AllKeysRandom,
    /// As `AllKeysLru`, among keys with a deadline.
    VolatileLru,
    /// As `AllKeysLfu`, among keys with a deadline.
    VolatileLfu,
    /// Any key with a deadline.
    VolatileRandom,
    /// The key that expires soonest.
    VolatileTtl,
}

impl MaxmemoryPolicy {
    /// All policies with the names they have in the configuration.
    pub const NAMES: [(&'static str, MaxmemoryPolicy); 8] = [
        ("noeviction", MaxmemoryPolicy::NoEviction),
        ("allkeys-lru", MaxmemoryPolicy::AllKeysLru),
        ("allkeys-lfu", MaxmemoryPolicy::AllKeysLfu),
        ("allkeys-random", MaxmemoryPolicy::AllKeysRandom),
        ("volatile-lru", MaxmemoryPolicy::VolatileLru),
        ("volatile-lfu", MaxmemoryPolicy::VolatileLfu),
        ("volatile-random", MaxmemoryPolicy::VolatileRandom),
        ("volatile-ttl", MaxmemoryPolicy::VolatileTtl),
    ];

    /// The policy of this name.
    pub fn from_name(name: &str) -> Option<MaxmemoryPolicy> {
        Self::NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, policy)| *policy)
    }

    /// True if only keys with a deadline may go.
    pub fn is_volatile(self) -> bool {
        use MaxmemoryPolicy::{VolatileLfu, VolatileLru, VolatileRandom, VolatileTtl};
        matches!(
            self,
            VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl
        )
    }
}

/// See the module's comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierSettings {
    /// Bytes that hot, warm and the cold tier's memory may have together; 0: no limit.
    pub maxmemory_bytes: u64,
    /// Bytes on disk for the cold tier; `None`: no limit.
    pub maxdisk_bytes: Option<u64>,
    /// The warm tier's part of `maxmemory`, in percent.
    pub warm_percent: u8,
    /// What is done when nothing can be demoted.
    pub policy: MaxmemoryPolicy,
    /// How many keys are looked at to find one to evict.
    pub samples: u32,
}

impl Default for TierSettings {
    fn default() -> TierSettings {
        TierSettings {
            maxmemory_bytes: 0,
            maxdisk_bytes: None,
            warm_percent: 10,
            policy: MaxmemoryPolicy::NoEviction,
            samples: 5,
        }
    }
}

impl TierSettings {
    /// Bytes of the warm tier.
    pub fn warm_bytes(&self) -> u64 {
        const WITHOUT_LIMIT_BYTES: u64 = 64 << 20;
        if self.maxmemory_bytes == 0 {
            WITHOUT_LIMIT_BYTES
        } else {
            self.maxmemory_bytes / 100 * u64::from(self.warm_percent)
        }
    }
}
