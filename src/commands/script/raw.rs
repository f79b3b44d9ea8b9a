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
//!   within such a call, and the frames between hold nothing that would have to be dropped (see `Running::call`).
//! - No panic crosses Lua: [`call`] stops it, the script gets an error, and [`Machine::run`] lets it go on.
//! - Scripts have no finalizers (no `newproxy`): while memory is allocated, no code of theirs runs.

use super::current;
use super::raised::{counted_table, error_table};
use mlua::ffi::{self, lua_State};
use mlua::{Error, Function, Lua, Table, Value};
use std::any::Any;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What is on the stack of every C function free for its use.
const ROOM_AT_FIRST: c_int = ffi::LUA_MINSTACK;
/// So many slots are asked for at a time.
const ROOM_STEP: c_int = 32;

/// Why a command that a script called gave no reply.
pub enum Failure {
    /// This is raised.
    Raise(Error),
    /// `redis.pcall`: the script gets this as a table; `true`: statistics know of it.
    Table(Vec<u8>, bool),
}

thread_local! {
    /// From the command that failed to the function that raises it.
    static FAILURE: Cell<Option<Failure>> = const { Cell::new(None) };
    static PANIC: Cell<Option<Box<dyn Any + Send>>> = const { Cell::new(None) };
}

/// A value on a stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen<'a> {
    /// None, or `nil`.
    Nil,
    /// A truth value.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(&'a [u8]),
    /// A table.
    Table,
    /// A function, a coroutine, or an object of ours.
    Other,
}

/// The part of a Lua stack that belongs to the running C function; see the module's comment.
pub struct Stack {
    state: *mut lua_State,
    /// Values that were there at first: the arguments.
    arguments: c_int,
    /// Values that were pushed since.
    pushed: c_int,
    room: c_int,
    /// It is the bottom of a main stack, where what is [`Kept`] lies.
    is_bottom: bool,
}

impl Stack {
    /// # Safety
    /// `state` lives as long as the stack is used, nobody else uses it meanwhile, and it is in a C function that has just begun,
    /// or has room for as many values.
    unsafe fn new(state: *mut lua_State) -> Stack {
        Stack {
            state,
            // SAFETY: the state lives.
            arguments: unsafe { ffi::lua_gettop(state) },
            pushed: 0,
            room: ROOM_AT_FIRST,
            is_bottom: false,
        }
    }

    /// Number of arguments of the running function.
    pub fn arguments(&self) -> usize {
        self.arguments as usize
    }

    /// An argument, counted from 1.
    pub fn argument(&self, number: usize) -> Seen<'_> {
        assert!((1..=self.arguments()).contains(&number));
        self.seen(number as c_int)
    }

    /// The value on top.
    pub fn top(&self) -> Seen<'_> {
        assert!(self.pushed > 0);
        self.seen(-1)
    }

    /// The value below the one on top.
    pub fn below(&self) -> Seen<'_> {
        assert!(self.pushed > 1);
        self.seen(-2)
    }

    fn seen(&self, index: c_int) -> Seen<'_> {
        // SAFETY: the callers checked the index. The functions look at a value of the type that they are for, which neither
        // fails nor converts it; a text stays where it is as long as it lies on the stack.
        unsafe {
            match ffi::lua_type(self.state, index) {
                ffi::LUA_TNIL => Seen::Nil,
                ffi::LUA_TBOOLEAN => Seen::Boolean(ffi::lua_toboolean(self.state, index) != 0),
                ffi::LUA_TNUMBER => Seen::Number(ffi::lua_tonumber(self.state, index)),
                ffi::LUA_TSTRING => {
                    let mut length = 0;
                    let text = ffi::lua_tolstring(self.state, index, &mut length);
                    Seen::Text(std::slice::from_raw_parts(text.cast(), length))
                }
                ffi::LUA_TTABLE => Seen::Table,
                _ => Seen::Other,
            }
        }
    }

    /// Makes sure that one more value can be pushed.
    fn reserve(&mut self) {
        if self.room == 0 {
            // SAFETY: the state lives.
            let has_room = unsafe { ffi::lua_checkstack(self.state, ROOM_STEP) != 0 };
            assert!(has_room, "values are nested deeper than Lua's stack");
            self.room = ROOM_STEP;
        }
        self.room -= 1;
        self.pushed += 1;
    }

    fn dropped(&mut self, values: c_int) {
        self.pushed -= values;
        self.room += values;
    }

    /// `depth` values below the top there is a table, and what is above it was pushed here.
    fn assert_table(&self, depth: c_int) {
        // SAFETY: so many values were pushed.
        let is_table = self.pushed >= depth
            && unsafe { ffi::lua_type(self.state, -depth) == ffi::LUA_TTABLE };
        assert!(is_table, "there is no table on Lua's stack");
    }

    /// Pushes `nil`.
    pub fn push_nil(&mut self) {
        self.reserve();
        // SAFETY: there is room.
        unsafe { ffi::lua_pushnil(self.state) }
    }

    /// Pushes a truth value.
    pub fn push_boolean(&mut self, truth: bool) {
        self.reserve();
        // SAFETY: there is room.
        unsafe { ffi::lua_pushboolean(self.state, c_int::from(truth)) }
    }

    /// Pushes a number.
    pub fn push_number(&mut self, number: f64) {
        self.reserve();
        // SAFETY: there is room.
        unsafe { ffi::lua_pushnumber(self.state, number) }
    }

    /// Pushes a text.
    pub fn push_text(&mut self, text: &[u8]) {
        self.reserve();
        // SAFETY: there is room; Lua copies the text.
        unsafe { ffi::lua_pushlstring_(self.state, text.as_ptr().cast(), text.len()) }
    }

    /// Pushes an empty table with room for a list and for named fields.
    pub fn push_table(&mut self, items: usize, fields: usize) {
        /// Lengths come from clients: more is made room for when it comes.
        const AT_FIRST_MAX: usize = 1 << 16;
        self.reserve();
        let (items, fields) = (items.min(AT_FIRST_MAX), fields.min(AT_FIRST_MAX));
        // SAFETY: there is room.
        unsafe { ffi::lua_createtable(self.state, items as c_int, fields as c_int) }
    }

    /// Pops the value on top into item `number` of the table below it.
    pub fn set_item(&mut self, number: usize) {
        self.assert_table(2);
        // SAFETY: there is a value, and a table below it.
        unsafe { ffi::lua_rawseti_(self.state, -2, number as c_int) };
        self.dropped(1);
    }

    /// Pops key and value into the table below them. A key that Lua has no place for (nil, NaN) is dropped with its value;
    /// false then.
    pub fn set_pair(&mut self) -> bool {
        self.assert_table(3);
        let has_place = match self.below() {
            Seen::Nil => false,
            Seen::Number(number) => !number.is_nan(),
            _ => true,
        };
        if has_place {
            // SAFETY: there are a key that is fit to be one and a value, and a table below them.
            unsafe { ffi::lua_rawset(self.state, -3) };
            self.dropped(2);
        } else {
            self.pop();
            self.pop();
        }
        has_place
    }

    /// Pops the value on top.
    pub fn pop(&mut self) {
        assert!(self.pushed > 0);
        // SAFETY: there is a value.
        unsafe { ffi::lua_settop(self.state, -2) };
        self.dropped(1);
    }

    /// Pushes item `number` of the table on top.
    pub fn push_item(&mut self, number: usize) {
        self.assert_table(1);
        self.reserve();
        // SAFETY: there are a table and room.
        unsafe { ffi::lua_rawgeti_(self.state, -1, number as c_int) };
    }

    /// Pushes what is behind the key on top in the table below it, with the key in its place: the next pair, or nothing and
    /// the key popped. `nil` as a key begins.
    fn next(&mut self) -> bool {
        self.assert_table(2);
        self.reserve();
        // SAFETY: there are a table, one of its keys or nil (this is called by `for_each_pair` only), and room.
        let has_next = unsafe { ffi::lua_next(self.state, -2) != 0 };
        if !has_next {
            self.dropped(2);
        }
        has_next
    }

    /// Shows the pairs of the table on top to `show`: the value on top, the key below it. It leaves the stack as it found it.
    pub fn for_each_pair(&mut self, mut show: impl FnMut(&mut Stack)) {
        self.assert_table(1);
        self.push_nil();
        while self.next() {
            let pushed = self.pushed;
            show(self);
            assert_eq!(self.pushed, pushed, "a pair was not left as it was");
            self.pop();
        }
    }

    /// Pushes a field of the table on top.
    pub fn push_field(&mut self, name: Kept) {
        assert!(self.is_bottom, "nothing is kept there");
        self.assert_table(1);
        self.reserve();
        // SAFETY: there are a table, and room for the name, whose place the field takes.
        unsafe {
            ffi::lua_pushvalue(self.state, name as c_int);
            ffi::lua_rawget_(self.state, -2);
        }
    }

    /// Pushes a copy of the value below the one on top.
    pub fn push_below(&mut self) {
        assert!(self.pushed > 1);
        self.reserve();
        // SAFETY: there are two values, and room.
        unsafe { ffi::lua_pushvalue(self.state, -2) }
    }

    fn push_function(&mut self, function: KeptFunction) {
        self.reserve();
        // SAFETY: there is room; where nothing is kept under a number, Lua pushes nil.
        unsafe { ffi::lua_rawgeti_(self.state, ffi::LUA_REGISTRYINDEX, function.0) }
    }

    fn push_upvalue(&mut self, number: c_int) {
        self.reserve();
        // SAFETY: there is room; an upvalue that the running function does not have is nil.
        unsafe { ffi::lua_pushvalue(self.state, ffi::lua_upvalueindex(number)) }
    }
}

/// What lies at the bottom of a state's main stack for ever, at these indices: so it is neither looked up nor made again.
#[derive(Clone, Copy)]
#[repr(i32)]
pub enum Kept {
    /// The message handler.
    Handler = 1,
    /// The C function that begins a run; its upvalues are the global table and the names of what it sets there.
    Starter,
    /// Names of fields of what scripts return.
    Err,
    /// As [`Kept::Err`].
    Ok,
    /// As [`Kept::Err`].
    Double,
    /// As [`Kept::Err`].
    BigNumber,
    /// As [`Kept::Err`].
    Verbatim,
    /// As [`Kept::Err`].
    Format,
    /// As [`Kept::Err`].
    String,
    /// As [`Kept::Err`].
    Map,
    /// As [`Kept::Err`].
    Set,
    /// Names of fields of errors.
    Counted,
    /// As [`Kept::Counted`].
    Source,
    /// As [`Kept::Counted`].
    Line,
}

const KEPT_NAMES: [&str; 12] = [
    "err",
    "ok",
    "double",
    "big_number",
    "verbatim_string",
    "format",
    "string",
    "map",
    "set",
    super::raised::COUNTED_FIELD,
    "source",
    "line",
];

/// A compiled function that a state keeps.
#[derive(Clone, Copy, Debug)]
pub struct KeptFunction(c_int);

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

/// `redis.call`, or with `raises` false `redis.pcall`, whose errors are worded by `dialect`.
pub fn nested_call(
    lua: &Lua,
    raises: bool,
    dialect: impl Fn(Error) -> Error + 'static,
) -> mlua::Result<Function> {
    let fail = lua.create_function(move |lua, ()| match FAILURE.take() {
        Some(Failure::Raise(error)) => Err(dialect(error)),
        Some(Failure::Table(text, true)) => counted_table(lua, &text),
        Some(Failure::Table(text, false)) => error_table(lua, &text),
        None => Err(super::api::outside()),
    })?;
    let body = if raises { call_raising } else { call_catching };
    // SAFETY: the closure pops its argument, the function's only upvalue, and pushes the function.
    unsafe { lua.exec_raw(fail, |state| ffi::lua_pushcclosure(state, body, 1)) }
}

unsafe extern "C-unwind" fn call_raising(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this.
    unsafe { call(state, true) }
}

unsafe extern "C-unwind" fn call_catching(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this.
    unsafe { call(state, false) }
}

/// Runs a command for the running script.
///
/// # Safety
/// Called by a C function of [`nested_call`] that has just begun.
unsafe fn call(state: *mut lua_State, raises: bool) -> c_int {
    // SAFETY: the C function has just begun.
    let mut stack = unsafe { Stack::new(state) };
    let called = catch_unwind(AssertUnwindSafe(|| {
        current::with(|running| running.call(&mut stack, raises))
    }));
    match called {
        Ok(Some(true)) => return 1,
        Ok(Some(false)) => {}
        Ok(None) => FAILURE.set(None),
        Err(panic) => {
            FAILURE.set(None);
            PANIC.set(Some(panic));
        }
    }
    // SAFETY: what was pushed goes, so there is room. The upvalue is the function that makes an error of `FAILURE`. If it
    // raises one, the jump leaves a frame that holds nothing to be dropped.
    unsafe {
        ffi::lua_settop(state, 0);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_call(state, 0, 1);
    }
    1
}

/// Leaves what became of a command that the script gets no reply of.
pub fn fail(failure: Failure) {
    FAILURE.set(Some(failure));
}
