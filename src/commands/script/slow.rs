//! Scripts that run for too long.
//!
//! A script that passes `busy-reply-threshold` is entered here. From then on other clients get BUSY, on every thread, and
//! only a few commands are let through, among them those that end the script: they leave a note here, which the script finds at
//! its next look at the clock.

use crate::error::{CommandError, CommandResult};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

const NOT_BUSY: CommandError = CommandError::fixed("NOTBUSY No scripts in execution right now.");
const UNKILLABLE: CommandError = CommandError::fixed(
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the \
     script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
);
const BUSY_SCRIPT: CommandError = CommandError::fixed(
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
);
const BUSY_FUNCTION: CommandError = CommandError::fixed(
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
);

/// One of them.
#[derive(Debug)]
pub struct SlowScript {
    /// A function, not a script of EVAL.
    pub is_function: bool,
    /// Digest, or name of the function.
    pub name: String,
    /// The command line.
    pub command: Vec<Vec<u8>>,
    /// When it began.
    pub started: Instant,
    /// It has called a command that writes.
    pub has_written: AtomicBool,
    /// It is to end.
    pub is_killed: AtomicBool,
    /// False while it waits for locks and holds none.
    pub holds_locks: AtomicBool,
}

/// All of them; there can be one for each thread.
#[derive(Debug, Default)]
pub struct SlowScripts {
    count: AtomicUsize,
    scripts: Mutex<Vec<Arc<SlowScript>>>,
}

impl SlowScripts {
    /// True if there is one.
    pub fn any(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    /// True if one of them, other than `own`, holds locks that nobody knows when it gives back.
    pub fn another_holds_locks(&self, own: Option<&Arc<SlowScript>>) -> bool {
        let holds = |script: &Arc<SlowScript>| {
            !own.is_some_and(|own| Arc::ptr_eq(own, script))
                && script.holds_locks.load(Ordering::Acquire)
        };
        self.any() && self.scripts.lock().iter().any(holds)
    }

    /// The server ends: so does every script that has not written.
    pub fn kill_what_can_be(&self) {
        for script in self.scripts.lock().iter() {
            script.is_killed.store(true, Ordering::Release);
        }
    }

    /// Enters a script.
    pub fn enter(&self, script: Arc<SlowScript>) {
        self.scripts.lock().push(script);
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Removes a script that has ended.
    pub fn leave(&self, script: &Arc<SlowScript>) {
        self.scripts
            .lock()
            .retain(|other| !Arc::ptr_eq(other, script));
        self.count.fetch_sub(1, Ordering::SeqCst);
    }

    /// The one that has run longest.
    pub fn first(&self) -> Option<Arc<SlowScript>> {
        self.scripts.lock().first().cloned()
    }

    /// What clients get instead of their replies.
    pub fn refusal(&self) -> CommandError {
        match self.first() {
            Some(script) if script.is_function => BUSY_FUNCTION,
            _ => BUSY_SCRIPT,
        }
    }

    /// SCRIPT KILL and FUNCTION KILL: ends what can be ended.
    ///
    /// # Errors
    /// There is nothing to end, or not by this command, or it has written.
    pub fn kill(&self, is_function: bool) -> CommandResult {
        let scripts = self.scripts.lock();
        let mut refusal = NOT_BUSY;
        for script in scripts.iter() {
            refusal = match () {
                () if script.has_written.load(Ordering::Acquire) => UNKILLABLE,
                () if script.is_function && !is_function => BUSY_FUNCTION,
                () if !script.is_function && is_function => BUSY_SCRIPT,
                () => {
                    script.is_killed.store(true, Ordering::Release);
                    return Ok(());
                }
            };
        }
        Err(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(is_function: bool, has_written: bool) -> Arc<SlowScript> {
        Arc::new(SlowScript {
            is_function,
            name: "name".into(),
            command: Vec::new(),
            started: Instant::now(),
            has_written: AtomicBool::new(has_written),
            is_killed: AtomicBool::new(false),
            holds_locks: AtomicBool::new(true),
        })
    }

    #[test]
    fn a_script_does_not_wait_for_itself_nor_for_those_that_hold_nothing() {
        let scripts = SlowScripts::default();
        let (one, other) = (script(false, true), script(false, true));
        scripts.enter(Arc::clone(&one));
        assert!(scripts.another_holds_locks(None) && !scripts.another_holds_locks(Some(&one)));
        scripts.enter(Arc::clone(&other));
        assert!(scripts.another_holds_locks(Some(&one)));
        other.holds_locks.store(false, Ordering::Release);
        assert!(!scripts.another_holds_locks(Some(&one)));
    }

    #[test]
    fn only_the_right_command_ends_a_script_and_only_if_it_has_not_written() {
        for (is_function, has_written, by_function, expected) in [
            (false, false, false, Ok(())),
            (true, false, true, Ok(())),
            (false, false, true, Err(BUSY_SCRIPT)),
            (true, false, false, Err(BUSY_FUNCTION)),
            (false, true, false, Err(UNKILLABLE)),
        ] {
            let scripts = SlowScripts::default();
            assert_eq!(scripts.kill(by_function), Err(NOT_BUSY));
            let script = script(is_function, has_written);
            scripts.enter(Arc::clone(&script));
            assert!(scripts.any());
            assert_eq!(scripts.kill(by_function), expected);
            assert_eq!(script.is_killed.load(Ordering::Relaxed), expected.is_ok());
            scripts.leave(&script);
            assert!(!scripts.any());
        }
    }
}
