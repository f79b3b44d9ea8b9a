//! The script that runs on this thread.
//!
//! Functions that Lua calls are made once for each Lua state and cannot hold references; they find what the running script
//! works on here. The alternative, functions made anew for each run, costs more than a small script itself.

use super::running::Running;
use std::cell::Cell;
use std::ptr;

thread_local! {
    static CURRENT: Cell<*mut Running<'static, 'static>> = const { Cell::new(ptr::null_mut()) };
}

/// Takes `CURRENT` back when a run ends, also by a panic.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        CURRENT.set(ptr::null_mut());
    }
}

/// Runs `body`, within which [`with`] finds `running`.
pub fn enter<R>(running: &mut Running<'_, '_>, body: impl FnOnce() -> R) -> R {
    let pointer: *mut Running<'_, '_> = running;
    CURRENT.set(pointer.cast());
    let _leave = Leave;
    body()
}

/// Gives the running script to `work`; `None` if none runs.
pub fn with<R>(work: impl FnOnce(&mut Running<'_, '_>) -> R) -> Option<R> {
    let pointer = CURRENT.replace(ptr::null_mut());
    if pointer.is_null() {
        return None;
    }
    // SAFETY: `enter` is still on this thread's stack and holds the exclusive reference that the pointer was made of; it does
    // not use it meanwhile. While `work` has the reference, `CURRENT` is null, so there is no second one. The lifetimes
    // that the cast forgot are longer than `enter`'s call, and `work` accepts any.
    let result = work(unsafe { &mut *pointer });
    CURRENT.set(pointer);
    Some(result)
}
