//! Values on a Lua stack: reading and pushing them by Lua's own C interface. What makes it sound is told in [`super::raw`].

use mlua::ffi::{self, lua_State};
use std::ffi::c_int;

/// What is on the stack of every C function free for its use.
pub(super) const ROOM_AT_FIRST: c_int = ffi::LUA_MINSTACK;
/// So many slots are asked for at a time.
const ROOM_STEP: c_int = 32;

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

/// The part of a Lua stack that belongs to the running C function; see the comment of [`super::raw`].
pub struct Stack {
    pub(super) state: *mut lua_State,
    /// Values that were there at first: the arguments.
    pub(super) arguments: c_int,
    /// Values that were pushed since.
    pub(super) pushed: c_int,
    room: c_int,
    /// It is the bottom of a main stack, where what is [`Kept`] lies.
    pub(super) is_bottom: bool,
    /// Somebody has a text that is an argument.
    is_lent: bool,
}

impl Stack {
    /// # Safety
    /// `state` lives as long as the stack is used, nobody else uses it meanwhile, and it is in a C function that has just begun,
    /// or has room for as many values.
    pub(super) unsafe fn new(state: *mut lua_State) -> Stack {
        Stack {
            state,
            // SAFETY: the state lives.
            arguments: unsafe { ffi::lua_gettop(state) },
            pushed: 0,
            room: ROOM_AT_FIRST,
            is_bottom: false,
            is_lent: false,
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

    /// An argument, counted from 1; nil if there are not so many.
    pub fn optional_argument(&self, number: usize) -> Seen<'_> {
        match number <= self.arguments() {
            true => self.argument(number),
            false => Seen::Nil,
        }
    }

    /// An argument as a number, if it is one or a text that Lua takes for one.
    pub fn number_argument(&self, number: usize) -> Option<f64> {
        self.argument(number);
        // SAFETY: there is such an argument, and neither function changes it.
        unsafe {
            (ffi::lua_isnumber(self.state, number as c_int) != 0)
                .then(|| ffi::lua_tonumber(self.state, number as c_int))
        }
    }

    /// Shows an argument that is a text to `read`, which may push while it has it: arguments stay where they are. A number
    /// becomes a text; `None` if it is neither.
    pub fn with_text_argument<R>(
        &mut self,
        number: usize,
        read: impl FnOnce(&[u8], &mut Stack) -> R,
    ) -> Option<R> {
        if !matches!(self.argument(number), Seen::Text(_) | Seen::Number(_)) {
            return None;
        }
        let mut length = 0;
        // SAFETY: there is such an argument. Its text lies still as long as the argument is there, and while it is lent no
        // function of this type changes or pops one.
        let text = unsafe {
            let text = ffi::lua_tolstring(self.state, number as c_int, &mut length);
            std::slice::from_raw_parts(text.cast(), length)
        };
        let was_lent = std::mem::replace(&mut self.is_lent, true);
        let result = read(text, self);
        self.is_lent = was_lent;
        Some(result)
    }

    /// Pops the arguments: there may be nearly as many as Lua's stack has room for.
    pub fn drop_arguments(&mut self) {
        assert!(!self.is_lent && self.pushed == 0);
        // SAFETY: only arguments are there, and nobody has a reference into them.
        unsafe { ffi::lua_settop(self.state, 0) };
        self.room += self.arguments;
        self.arguments = 0;
    }

    /// Puts a number in the place of the first value that was pushed.
    pub fn set_first(&mut self, number: f64) {
        assert!(self.pushed > 0);
        self.push_number(number);
        // SAFETY: there are two values above the arguments, or one and its copy.
        unsafe { ffi::lua_replace(self.state, self.arguments + 1) };
        self.dropped(1);
    }

    /// True if one more value can be pushed. What is nested in a fixed depth need not ask; what may be any number has to.
    pub fn has_room(&mut self) -> bool {
        // SAFETY: the state lives.
        if self.room == 0 && unsafe { ffi::lua_checkstack(self.state, ROOM_STEP) != 0 } {
            self.room = ROOM_STEP;
        }
        self.room > 0
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
        assert!(self.has_room(), "values are nested deeper than Lua's stack");
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
        let is_table =
            self.pushed >= depth && unsafe { ffi::lua_type(self.state, -depth) == ffi::LUA_TTABLE };
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

    pub(super) fn push_function(&mut self, function: KeptFunction) {
        self.reserve();
        // SAFETY: there is room; where nothing is kept under a number, Lua pushes nil.
        unsafe { ffi::lua_rawgeti_(self.state, ffi::LUA_REGISTRYINDEX, function.0) }
    }

    pub(super) fn push_upvalue(&mut self, number: c_int) {
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

pub(super) const KEPT_NAMES: [&str; 12] = [
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
pub struct KeptFunction(pub(super) c_int);
