//! `demote-every-command`, a directive for tests: what a command has touched goes to the cold tier as soon as it ends, so that the next one
//! finds every key on disk. The Tcl suites run with it, and must score as they do without.
//!
//! It waits for the disk on the worker's thread, after the command's locks are gone. Nobody wants that but a test.

use super::Dispatcher;
use crate::commands::{Flags, Session, transactions};

impl Dispatcher {
    /// Demotes the keys that a command line names; all of its database after what names keys in other ways.
    pub(super) fn chill(&self, session: &Session, arguments: &[&[u8]]) {
        let Ok(row) = transactions::resolve(arguments) else {
            return;
        };
        let tier = &self.server.tier;
        let demoted =
            if row.spec.flags.has(Flags::RUNS_QUEUE) || row.spec.flags.has(Flags::RUNS_SCRIPT) {
                tier.demote_all(session.database)
            } else {
                let mut keys = Vec::new();
                row.spec
                    .for_each_key(arguments, |index| keys.push(arguments[index].to_vec()));
                tier.demote_keys(session.database, &keys)
            };
        if let Err(error) = demoted {
            tracing::warn!(%error, "keys could not be demoted after a command");
        }
    }
}
