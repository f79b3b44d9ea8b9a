//! A script runs on a stack of its own, so that it can be left in the middle and gone on with later.
//!
//! A thread serves many connections. When a script on it runs for too long, the others have to hear BUSY, so the thread must
//! get away from the script, which is deep inside of Lua, in C. A stackful coroutine does that: [`suspend`] returns to whoever
//! called [`run`], and [`Suspended::resume`] goes on. Lua's jumps (`longjmp`) stay within one stack. Switching costs some
//! ten nanoseconds, and stacks are used again; nothing of it shows in a small script's time.

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::cell::{Cell, RefCell};
use std::ptr;

/// Address space of a stack; memory is used as far as it is touched. Nested tables make the libraries recurse.
const STACK_BYTES: usize = 16 << 20;
/// So many stacks are kept for later.
const STACKS_KEPT: usize = 4;

type Work<R> = Coroutine<(), (), R, DefaultStack>;

thread_local! {
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
    static YIELDER: Cell<*const Yielder<(), ()>> = const { Cell::new(ptr::null()) };
}

/// Clears `YIELDER` when work ends, also by a panic.
struct ForgetYielder;

impl Drop for ForgetYielder {
    fn drop(&mut self) {
        YIELDER.set(ptr::null());
    }
}

/// How far the work has come.
pub enum Progress<R> {
    /// To its end.
    Done(R),
    /// It was left in the middle.
    Suspended(Suspended<R>),
}

/// Work that was left in the middle. If it is dropped (only when its thread ends, with the process), it stays where it is:
/// unwinding a stack through C would not be sound.
pub struct Suspended<R> {
    coroutine: Option<Work<R>>,
}

impl<R> Suspended<R> {
    /// Goes on with the work.
    pub fn resume(mut self) -> Progress<R> {
        match self.coroutine.take() {
            Some(coroutine) => advance(coroutine),
            None => Progress::Suspended(self),
        }
    }
}

impl<R> Drop for Suspended<R> {
    fn drop(&mut self) {
        std::mem::forget(self.coroutine.take());
    }
}

/// Runs `work` on a stack of its own, until its end or until it is suspended.
///
/// # Errors
/// There is no memory for a stack.
pub fn run<R: 'static>(work: impl FnOnce() -> R + 'static) -> std::io::Result<Progress<R>> {
    let stack = match STACKS.with_borrow_mut(Vec::pop) {
        Some(stack) => stack,
        None => DefaultStack::new(STACK_BYTES)?,
    };
    Ok(advance(Coroutine::with_stack(stack, |yielder, ()| {
        YIELDER.set(yielder);
        let _forget = ForgetYielder;
        work()
    })))
}

fn advance<R>(mut coroutine: Work<R>) -> Progress<R> {
    match coroutine.resume(()) {
        CoroutineResult::Yield(()) => Progress::Suspended(Suspended {
            coroutine: Some(coroutine),
        }),
        CoroutineResult::Return(result) => {
            STACKS.with_borrow_mut(|stacks| {
                if stacks.len() < STACKS_KEPT {
                    stacks.push(coroutine.into_stack());
                }
            });
            Progress::Done(result)
        }
    }
}

/// Leaves the work that runs on this stack; returns when it is resumed. On a thread's own stack it does nothing, and says so.
pub fn suspend() -> bool {
    let yielder = YIELDER.get();
    if !yielder.is_null() {
        // SAFETY: `run` sets the pointer when the work begins, on the work's own stack, and clears it when the work ends; the
        // yielder lives as long. Only one such stack is in use on a thread at a time: while one is suspended, commands that would
        // run another are refused.
        unsafe { &*yielder }.suspend(());
    }
    !yielder.is_null()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_left_and_gone_on_with() {
        for pauses in [0, 1, 5] {
            let work = move || {
                (0..pauses).for_each(|_| assert!(suspend()));
                pauses * 10
            };
            let mut progress = run(work).expect("a stack");
            let mut seen = 0;
            let result = loop {
                match progress {
                    Progress::Done(result) => break result,
                    Progress::Suspended(suspended) => {
                        seen += 1;
                        progress = suspended.resume();
                    }
                }
            };
            assert_eq!((seen, result), (pauses, pauses * 10));
        }
    }

    #[test]
    fn outside_of_such_work_nothing_is_suspended() {
        assert!(!suspend());
    }
}
