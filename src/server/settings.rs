//! The settings that all threads share: read by a copy that each worker keeps, replaced as a whole by CONFIG SET.

use crate::config::{SetError, Settings};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// See the module's comment.
pub struct SharedSettings {
    settings: RwLock<Arc<Settings>>,
    version: AtomicU64,
    /// Held by whoever changes settings, so that two CONFIG SET do not lose each other's changes.
    changing: Mutex<()>,
}

impl SharedSettings {
    /// Shares the settings of the start.
    pub fn new(settings: Settings) -> SharedSettings {
        SharedSettings {
            settings: RwLock::new(Arc::new(settings)),
            version: AtomicU64::new(0),
            changing: Mutex::new(()),
        }
    }

    /// The settings now, and their version.
    pub fn current(&self) -> (Arc<Settings>, u64) {
        let settings = self.settings.read();
        (Arc::clone(&settings), self.version.load(Ordering::Acquire))
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Changes settings, all or nothing; `apply` puts the new ones into force and may still refuse.
    pub fn change<E: From<SetError>>(
        &self,
        pairs: &[(&[u8], &[u8])],
        apply: impl FnOnce(&Settings, &Settings) -> Result<(), E>,
    ) -> Result<(), E> {
        let _changing = self.changing.lock();
        let former = self.current().0;
        let mut settings = Settings::clone(&former);
        settings.set(pairs)?;
        apply(&former, &settings)?;
        let mut current = self.settings.write();
        *current = Arc::new(settings);
        self.version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}
