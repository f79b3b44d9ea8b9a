//! Lua's own C interface, for what every run of every script does: call a function, call a command, take a reply.
//!
//! `mlua` keeps a Rust value for whatever comes from Lua, in a list of references with an allocation each; for a script of
//! three lines that cost more than the script. It still builds the states and the libraries; here values are only pushed
//! on Lua's stack and read from it.
//!
//! What makes it sound:
//! - A [`Stack`] counts what it has pushed, asks Lua for room before that is used up, and looks whether a table is one
//!   before it is written to or read from. So no call below leaves Lua's stack or meets a value of another type.
//! - Texts are borrowed from the stack that they lie on; to pop them the stack has to be borrowed exclusively.
//! - When memory runs out Lua jumps to the innermost protected call, over Rust's frames. Everything that allocates runs
//!   within such a call, and the frames between hold nothing that would have to be dropped (see [`Body`]).
//! - No panic crosses Lua: [`function`] stops it, the script gets an error, and [`Machine::run`] lets it go on.
//! - Scripts have no finalizers (no `newproxy`): while memory is allocated, no code of theirs runs.

use super::raised::{counted_table, error_table, located_error_of_caller, plain_error};
use super::values::{KEPT_NAMES, Kept, KeptFunction, ROOM_AT_FIRST, Stack};
use mlua::ffi::{self, lua_State};
use mlua::{Error, Function, Lua, Table, Value};
use std::any::Any;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Why a function has no result.
pub enum Failure {
    /// This is raised.
    Raise(Error),
    /// So is this text, after the place in the script that called the function.
    RaiseWithPlace(String),
    /// `redis.pcall`: the script gets this as a table; `true`: statistics know of it.
    Table(Vec<u8>, bool),
}

thread_local! {
    /// From the function that failed to the one that raises it.
    static FAILURE: Cell<Option<Failure>> = const { Cell::new(None) };
    static PANIC: Cell<Option<Box<dyn Any + Send>>> = const { Cell::new(None) };
}

/// What a run begins with.
pub struct Start<'a> {
    /// What runs.
    pub function: KeptFunction,
    /// KEYS.
    pub keys: &'a [&'a [u8]],
    /// ARGV.
    pub arguments: &'a [&'a [u8]],
    /// They are the function's arguments, not global variables.
    pub as_parameters: bool,
}

/// A Lua state as runs use it. It is used only as long as the [`Lua`] that it was made of lives: [`super::engine`] owns both.
pub struct Machine {
    state: *mut lua_State,
}

/// What a run left: its result, or its error, on top of the stack.
pub struct Finished<'m> {
    machine: &'m Machine,
    /// For reading the result.
    pub stack: Stack,
    /// It came to its end without an error.
    pub has_ended: bool,
}

impl Machine {
    /// Lays what is kept on the main stack of a new state.
    pub fn new(lua: &Lua, globals: &Table, handler: &Function) -> mlua::Result<Machine> {
        let mut state = std::ptr::null_mut();
        let (mut first, mut second) = (0, 0);
        // SAFETY: the closure pops the two arguments into the registry, which leaves its stack empty. No callback runs, so
        // the state that it is shown is the main one.
        unsafe {
            lua.exec_raw::<()>((handler, globals), |inner| {
                state = inner;
                second = ffi::luaL_ref(inner, ffi::LUA_REGISTRYINDEX);
                first = ffi::luaL_ref(inner, ffi::LUA_REGISTRYINDEX);
            })?;
        }
        // SAFETY: nothing runs in the state, and its main stack is empty and has room for what is pushed here and for the
        // values of a run; `mlua` leaves alone what was on it before its own calls. Memory is not limited: if there is none
        // for these names the process ends, as `mlua` has it.
        unsafe {
            let room = KEPT_NAMES.len() as c_int + 5 + ROOM_AT_FIRST;
            if ffi::lua_gettop(state) != 0 || ffi::lua_checkstack(state, room) == 0 {
                return Err(Error::StackError);
            }
            ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, first);
            ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, second);
            ffi::lua_pushlstring_(state, c"KEYS".as_ptr(), 4);
            ffi::lua_pushlstring_(state, c"ARGV".as_ptr(), 4);
            ffi::lua_pushcclosure(state, start, 3);
            for name in KEPT_NAMES {
                ffi::lua_pushlstring_(state, name.as_ptr().cast(), name.len());
            }
        }
        Ok(Machine { state })
    }

    /// Keeps a function of this state.
    pub fn keep(&self, lua: &Lua, function: &Function) -> mlua::Result<KeptFunction> {
        let mut kept = 0;
        // SAFETY: the closure pops its argument into the registry.
        unsafe {
            lua.exec_raw::<()>(function, |state| {
                kept = ffi::luaL_ref(state, ffi::LUA_REGISTRYINDEX);
            })?;
        }
        Ok(KeptFunction(kept))
    }

    /// Forgets a function that [`Machine::keep`] kept here.
    pub fn forget(&self, function: KeptFunction) {
        // SAFETY: the state lives, and a number that was given back only goes into the registry's list of free ones.
        unsafe { ffi::luaL_unref(self.state, ffi::LUA_REGISTRYINDEX, function.0) }
    }

    /// Runs a function to its end. A panic in a command that it called goes on here.
    pub fn run<'m>(&'m self, run: &Start<'_>) -> Finished<'m> {
        // SAFETY: the state lives, and its main stack has room for these three and the result. `start` gets a pointer to
        // what lives until it has returned. Whatever is raised ends in this protected call.
        let status = unsafe {
            ffi::lua_pushvalue(self.state, Kept::Starter as c_int);
            ffi::lua_pushlightuserdata(self.state, std::ptr::from_ref(run) as *mut c_void);
            ffi::lua_pcall(self.state, 1, 1, Kept::Handler as c_int)
        };
        // SAFETY: only the result was pushed.
        let mut stack = unsafe { Stack::new(self.state) };
        (stack.arguments, stack.pushed, stack.is_bottom) = (stack.arguments - 1, 1, true);
        let finished = Finished {
            machine: self,
            stack,
            has_ended: status == ffi::LUA_OK,
        };
        if let Some(panic) = PANIC.take() {
            drop(finished);
            resume_unwind(panic);
        }
        finished
    }
}

impl Finished<'_> {
    /// The result as `mlua` knows it.
    pub fn value(&self, lua: &Lua) -> mlua::Result<Value> {
        // SAFETY: the result is on top; the registry takes a copy. The closure pushes one value and frees the reference.
        unsafe {
            ffi::lua_pushvalue(self.machine.state, -1);
            let kept = ffi::luaL_ref(self.machine.state, ffi::LUA_REGISTRYINDEX);
            lua.exec_raw((), |state| {
                ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, kept);
                ffi::luaL_unref(state, ffi::LUA_REGISTRYINDEX, kept);
            })
        }
    }
}

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        // SAFETY: what is kept was there before the run, and nothing else.
        unsafe { ffi::lua_settop(self.machine.state, self.stack.arguments) }
    }
}

/// Begins a run, within a protected call: makes its tables and calls its function.
unsafe extern "C-unwind" fn start(state: *mut lua_State) -> c_int {
    // SAFETY: only `Machine::run` calls this, with this argument.
    let run = unsafe { &*ffi::lua_touserdata(state, 1).cast::<Start<'_>>() };
    // SAFETY: this C function has just begun.
    let mut stack = unsafe { Stack::new(state) };
    stack.push_function(run.function);
    if run.as_parameters {
        push_list(&mut stack, run.keys);
        push_list(&mut stack, run.arguments);
    } else {
        stack.push_upvalue(1);
        for (name, texts) in [(2, run.keys), (3, run.arguments)] {
            stack.push_upvalue(name);
            push_list(&mut stack, texts);
            stack.set_pair();
        }
        stack.pop();
    }
    let parameters = stack.pushed - 1;
    // SAFETY: on the stack are the function and its parameters.
    unsafe { ffi::lua_call(state, parameters, 1) };
    1
}

fn push_list(stack: &mut Stack, texts: &[&[u8]]) {
    stack.push_table(texts.len(), 0);
    for (index, text) in texts.iter().enumerate() {
        stack.push_text(text);
        stack.set_item(index + 1);
    }
}

/// What a function does that Lua calls: it reads its arguments and leaves its results on top of the stack. While it pushes, it
/// holds nothing that would have to be dropped: Lua may jump out of that.
pub type Body = fn(&mut Stack) -> Result<(), Failure>;

/// A function for Lua; `dialect` words its errors.
pub fn function(
    lua: &Lua,
    body: Body,
    dialect: impl Fn(Error) -> Error + 'static,
) -> mlua::Result<Function> {
    let fail = lua.create_function(move |lua, ()| match FAILURE.take() {
        Some(Failure::Raise(error)) => Err(dialect(error)),
        Some(Failure::RaiseWithPlace(text)) => Err(dialect(located_error_of_caller(lua, text))),
        Some(Failure::Table(text, true)) => counted_table(lua, &text),
        Some(Failure::Table(text, false)) => error_table(lua, &text),
        None => Err(plain_error("a function of the server failed")),
    })?;
    // SAFETY: the closure pops its argument, which becomes the function's first upvalue, and pushes the function.
    unsafe {
        lua.exec_raw(fail, |state| {
            ffi::lua_pushlightuserdata(state, body as *mut c_void);
            ffi::lua_pushcclosure(state, run_body, 2);
        })
    }
}

/// The C function of [`function`].
unsafe extern "C-unwind" fn run_body(state: *mut lua_State) -> c_int {
    // SAFETY: this C function has just begun. Its second upvalue is a function of this very type.
    let (mut stack, body) = unsafe {
        let body = ffi::lua_touserdata(state, ffi::lua_upvalueindex(2));
        (
            Stack::new(state),
            std::mem::transmute::<*mut c_void, Body>(body),
        )
    };
    match catch_unwind(AssertUnwindSafe(|| body(&mut stack))) {
        Ok(Ok(())) => return stack.pushed,
        Ok(Err(failure)) => FAILURE.set(Some(failure)),
        Err(panic) => PANIC.set(Some(panic)),
    }
    // SAFETY: what was pushed goes, so there is room. The first upvalue is the function that makes an error of `FAILURE`.
    // If it raises one, the jump leaves a frame that holds nothing to be dropped.
    unsafe {
        ffi::lua_settop(state, 0);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_call(state, 0, 1);
    }
    1
}

#[cfg(test)]
mod tests {
    use super::super::values::Seen;
    use super::*;

    fn machine() -> (Lua, Machine) {
        let lua = Lua::new();
        let handler = lua.create_function(super::super::raised::describe);
        let handler = handler.expect("a function");
        let machine = Machine::new(&lua, &lua.globals(), &handler).expect("an empty state");
        (lua, machine)
    }

    fn kept(lua: &Lua, machine: &Machine, code: &str) -> KeptFunction {
        let function = lua.load(code).into_function().expect("code that compiles");
        machine.keep(lua, &function).expect("room")
    }

    fn start(function: KeptFunction) -> Start<'static> {
        Start {
            function,
            keys: &[b"k"],
            arguments: &[b"", b"a"],
            as_parameters: false,
        }
    }

    #[test]
    fn a_panic_goes_on_when_the_script_has_ended_and_the_state_is_as_good_as_before() {
        let (lua, machine) = machine();
        let body: Body = |stack| {
            stack.push_table(0, 0);
            panic!("a bug")
        };
        let bug = function(&lua, body, std::convert::identity).expect("a function");
        lua.globals().set("bug", bug).expect("room");
        let catching = kept(&lua, &machine, "caught = not pcall(bug) return 1");
        let sound = kept(
            &lua,
            &machine,
            "return tostring(caught) .. KEYS[1] .. #ARGV",
        );
        for _ in 0..100 {
            let run = AssertUnwindSafe(|| machine.run(&start(catching)).has_ended);
            let panic = catch_unwind(run).expect_err("a panic");
            assert_eq!(panic.downcast_ref(), Some(&"a bug"));
            let finished = machine.run(&start(sound));
            assert!(finished.has_ended);
            assert_eq!(finished.stack.top(), Seen::Text(b"truek2"));
        }
    }

    #[test]
    fn failures_are_raised_and_leave_nothing_on_the_stack() {
        let (lua, machine) = machine();
        let body: Body = |stack| {
            (0..50).for_each(|_| stack.push_text(b"left behind"));
            Err(Failure::RaiseWithPlace("wrong".to_owned()))
        };
        let wrong = function(&lua, body, std::convert::identity).expect("a function");
        lua.globals().set("wrong", wrong).expect("room");
        let failing = kept(&lua, &machine, "\n wrong()");
        for _ in 0..1000 {
            let finished = machine.run(&start(failing));
            assert!(!finished.has_ended);
            let Seen::Text(text) = finished.stack.top() else {
                panic!("{:?}", finished.stack.top());
            };
            let text = String::from_utf8_lossy(text);
            assert!(text.ends_with(":2: wrong"), "{text}");
        }
    }

    #[test]
    fn a_function_that_is_forgotten_leaves_its_place_to_another() {
        let (lua, machine) = machine();
        let one = kept(&lua, &machine, "return 1");
        machine.forget(one);
        let two = kept(&lua, &machine, "return 2");
        assert_eq!(one.0, two.0);
        assert_eq!(machine.run(&start(two)).stack.top(), Seen::Number(2.0));
    }
}
