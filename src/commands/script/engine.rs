//! The Lua states of a thread: one for EVAL, one for functions.
//!
//! Building a sandbox takes far longer than running a small script, so it is built once; the functions compiled in it are
//! kept by digest. A run costs its two argument tables, the call, and the conversion of what it returns. Nothing here is
//! shared between threads: what all must know is in the [`super::store::ScriptStore`].

use super::libraries::{FunctionInfo, Library};
use super::raised::{PRELUDE_NAME, reply_error};
use super::raw::{Finished, Machine, Start};
use super::registration::Registrations;
use super::running::{Buffers, Running, Tick, Watch};
use super::shebang::{self, ScriptFlags};
use super::store::{
    ByDigest, Digest, EVAL_SCRIPTS_MAX, LoadedBy, Script, ScriptStore, show_digest,
};
use super::values::{Kept, KeptFunction, Seen, Stack};
use super::{api, convert, current, stack};
use crate::clock::TickLength;
use crate::commands::context::Context;
use crate::commands::options::up_to_nul;
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use hashbrown::HashMap;

use mlua::{ChunkMode, Function, HookTriggers, Lua, LuaOptions, StdLib, Table, Value, VmState};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PRELUDE: &str = include_str!("prelude.lua");
/// How many instructions of Lua pass between two looks at the clock.
const INSTRUCTIONS_PER_LOOK: u32 = 100_000;
/// A library that takes longer to load is refused.
const LOAD_TIME_MAX: Duration = Duration::from_millis(500);
/// After so many runs, the pauses of the garbage collector are chosen again.
const RUNS_PER_TUNING: u32 = 50;
/// Up to here a heap is small, in bytes.
const SMALL_HEAP_BYTES: usize = 8 << 20;
/// A cycle begins when the heap has so many percent of what the last one left alive. The first is Lua's own choice.
const PAUSE: i32 = 200;
const PAUSE_OF_SMALL_HEAP: i32 = 400;

thread_local! {
    static SCRIPTS: RefCell<Option<Engine>> = const { RefCell::new(None) };
    static FUNCTIONS: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

/// A script of EVAL, ready to run.
struct Compiled {
    function: KeptFunction,
    flags: Option<ScriptFlags>,
    /// Its digest, as error replies show it.
    name: String,
    /// What it was compiled from, as the store knows it.
    script: Arc<Script>,
}

/// The functions of one library, ready to run; `of` tells which version of it.
struct LoadedLibrary {
    of: Arc<Library>,
    functions: Vec<KeptFunction>,
}

/// One Lua state with its sandbox; see the module's comment.
struct Engine {
    machine: Machine,
    lua: Lua,
    run: Function,
    set_loading: Function,
    compiled: ByDigest<Rc<Compiled>>,
    /// When there are so many, those are looked for that are not needed any more.
    compiled_max: usize,
    libraries: HashMap<String, LoadedLibrary>,
    /// The flushes that this state knows of.
    flushes: u64,
    runs: u32,
    buffers: Buffers,
    tick_length: TickLength,
    /// A run was ended by force: the hook that did so is still there.
    is_spoiled: bool,
}

/// A command that runs a script.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The whole command line.
    pub command: &'a [&'a [u8]],
    /// The keys that it declares.
    pub keys: &'a [&'a [u8]],
    /// The other arguments of the script.
    pub arguments: &'a [&'a [u8]],
    /// It is one of the read-only forms.
    pub is_read_only: bool,
}

/// What is run, and how.
struct Run<'a> {
    call: Call<'a>,
    function: KeptFunction,
    flags: Option<ScriptFlags>,
    /// What error replies call it.
    name: &'a str,
    /// A function gets its tables as parameters; a script has them as global variables.
    is_function: bool,
}

/// A script that does not compile, or a state that cannot be made: for want of memory.
fn internal(error: mlua::Error) -> CommandError {
    CommandError::new(format!("ERR {error}"))
}

/// How EVAL and its relatives name a script.
pub enum Source<'a> {
    /// By its text.
    Text(&'a [u8]),
    /// By its digest, in hexadecimal.
    Digest(&'a [u8]),
}

/// EVAL and its relatives.
///
/// # Errors
/// There is no such script, it does not compile, or it may not run now. What fails while it runs is a reply.
pub fn eval(
    context: &mut Context<'_>,
    source: &Source<'_>,
    call: Call<'_>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    with_scripts(context.services.scripts(), |engine, store| {
        let (_, compiled) = engine.prepare(store, source, LoadedBy::Eval)?;
        super::may_start(context, compiled.flags, call.is_read_only)?;
        let run = Run {
            call,
            function: compiled.function,
            flags: compiled.flags,
            name: &compiled.name,
            is_function: false,
        };
        engine.run(context, run, reply).map_err(internal)
    })
}

/// SCRIPT LOAD: compiles a text and keeps it.
///
/// # Errors
/// It does not compile.
pub fn load_script(store: &ScriptStore, text: &[u8]) -> Result<Digest, CommandError> {
    with_scripts(store, |engine, store| {
        let (digest, _) = engine.prepare(store, &Source::Text(text), LoadedBy::Command)?;
        Ok(digest)
    })
}

/// FCALL and FCALL_RO: calls function number `index` of `library`.
///
/// # Errors
/// As [`eval`].
pub fn call_function(
    context: &mut Context<'_>,
    (library, index): (&Arc<Library>, usize),
    call: Call<'_>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let info = &library.functions[index];
    super::may_start(context, Some(info.flags), call.is_read_only)?;
    with_functions(|engine| {
        let function = engine.function(library, index)?;
        let run = Run {
            call,
            function,
            flags: Some(info.flags),
            name: &String::from_utf8_lossy(&info.name),
            is_function: true,
        };
        engine.run(context, run, reply).map_err(internal)
    })
}

/// FUNCTION LOAD: runs a library's code and tells what it registers.
///
/// # Errors
/// It does not compile, fails, or registers nothing.
pub fn load_library(text: &[u8]) -> Result<Library, CommandError> {
    let (name, start) = shebang::of_library(text)?;
    let functions = with_functions(|engine| engine.load(&text[start..]))?;
    if functions.is_empty() {
        return Err(CommandError::fixed("ERR No functions registered"));
    }
    Ok(Library {
        name,
        text: text.to_vec(),
        functions: functions.into_iter().map(|(info, _)| info).collect(),
    })
}

/// This thread's state for EVAL, made anew after SCRIPT FLUSH.
fn with_scripts<R>(
    store: &ScriptStore,
    work: impl FnOnce(&mut Engine, &ScriptStore) -> Result<R, CommandError>,
) -> Result<R, CommandError> {
    SCRIPTS.with_borrow_mut(|slot| {
        let flushes = store.flushes();
        if slot
            .as_ref()
            .is_some_and(|engine| engine.flushes != flushes)
        {
            *slot = None;
        }
        let engine = made(slot, || Engine::for_scripts(flushes))?;
        work(engine, store)
    })
}

/// This thread's state for functions.
fn with_functions<R>(
    work: impl FnOnce(&mut Engine) -> Result<R, CommandError>,
) -> Result<R, CommandError> {
    FUNCTIONS.with_borrow_mut(|slot| work(made(slot, Engine::for_functions)?))
}

fn made(
    slot: &mut Option<Engine>,
    make: impl FnOnce() -> mlua::Result<Engine>,
) -> Result<&mut Engine, CommandError> {
    if slot.as_ref().is_none_or(|engine| engine.is_spoiled) {
        *slot = Some(make().map_err(internal)?);
    }
    slot.as_mut().ok_or(CommandError::fixed("ERR no Lua state"))
}

impl Engine {
    fn for_scripts(flushes: u64) -> mlua::Result<Engine> {
        let lua = Engine::new_state()?;
        let redis = api::redis_of_scripts(&lua, api::Dialect::Redis)?;
        let server = api::redis_of_scripts(&lua, api::Dialect::Valkey)?;
        let load = (lua.create_table()?, lua.create_table()?);
        Engine::new(lua, (redis, server), load, flushes)
    }

    fn for_functions() -> mlua::Result<Engine> {
        let lua = Engine::new_state()?;
        let (redis, load_redis) = api::redis_of_functions(&lua, api::Dialect::Redis)?;
        let (server, load_server) = api::redis_of_functions(&lua, api::Dialect::Valkey)?;
        Engine::new(lua, (redis, server), (load_redis, load_server), 0)
    }

    fn new_state() -> mlua::Result<Lua> {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH | StdLib::OS;
        // Lua's own pcall, because no function of ours panics through Lua.
        Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))
    }

    fn new(
        lua: Lua,
        libraries: api::Twice,
        load: api::Twice,
        flushes: u64,
    ) -> mlua::Result<Engine> {
        let natives = api::natives(&lua, libraries, load)?;
        let handler: Function = natives.raw_get("handler")?;
        let prelude = lua.load(PRELUDE).set_name(PRELUDE_NAME);
        let (proxy, globals, run, set_loading): (Table, Table, Function, Function) =
            prelude.call(natives)?;
        lua.set_globals(proxy)?;
        let often = HookTriggers::new().every_nth_instruction(INSTRUCTIONS_PER_LOOK);
        lua.set_global_hook(often, |lua, _| look_at_clock(lua))?;
        Ok(Engine {
            machine: Machine::new(&lua, &globals, &handler)?,
            lua,
            run,
            set_loading,
            compiled: ByDigest::default(),
            compiled_max: EVAL_SCRIPTS_MAX,
            libraries: HashMap::new(),
            flushes,
            runs: 0,
            buffers: Buffers::default(),
            tick_length: TickLength::default(),
            is_spoiled: false,
        })
    }

    /// Makes sure that a script is compiled, here, and known to all threads.
    fn prepare(
        &mut self,
        store: &ScriptStore,
        source: &Source<'_>,
        by: LoadedBy,
    ) -> Result<(Digest, Rc<Compiled>), CommandError> {
        const NO_SCRIPT: CommandError =
            CommandError::fixed("NOSCRIPT No matching script. Please use EVAL.");
        match *source {
            Source::Digest(digest) => {
                let digest = super::store::parse_digest(digest).ok_or(NO_SCRIPT)?;
                if let Some(known) = self.known(&digest) {
                    return Ok((digest, known));
                }
                let script = store.script(&digest).ok_or(NO_SCRIPT)?;
                let (function, flags) = self.compile(&script.text)?;
                Ok((digest, self.keep(digest, function, flags, script)))
            }
            Source::Text(text) => {
                let digest = ScriptStore::digest(text);
                if let Some(known) = self.known(&digest) {
                    if by == LoadedBy::Command {
                        store.insert(digest, text, by);
                    }
                    return Ok((digest, known));
                }
                let (function, flags) = self.compile(text)?;
                let script = store.insert(digest, text, by);
                Ok((digest, self.keep(digest, function, flags, script)))
            }
        }
    }

    /// A script that is compiled here and that the store still has.
    fn known(&self, digest: &Digest) -> Option<Rc<Compiled>> {
        let known = self.compiled.get(digest)?;
        known.script.use_it().then(|| Rc::clone(known))
    }

    /// Keeps a compiled script, and forgets those that the store has let go, once they may be many.
    fn keep(
        &mut self,
        digest: Digest,
        function: KeptFunction,
        flags: Option<ScriptFlags>,
        script: Arc<Script>,
    ) -> Rc<Compiled> {
        if self.compiled.len() >= self.compiled_max {
            let gone = self.compiled.extract_if(|_, known| known.script.is_gone());
            gone.for_each(|(_, known)| self.machine.forget(known.function));
            self.compiled_max = self.compiled.len() + EVAL_SCRIPTS_MAX;
        }
        let compiled = Rc::new(Compiled {
            function,
            flags,
            name: show_digest(&digest),
            script,
        });
        self.compiled.insert(digest, Rc::clone(&compiled));
        compiled
    }

    fn compile(&self, text: &[u8]) -> Result<(KeptFunction, Option<ScriptFlags>), CommandError> {
        let (flags, start) = shebang::of_script(text)?;
        let function = self.chunk(&text[start..], "@user_script").map_err(|text| {
            CommandError::new(format!("ERR Error compiling script (new function): {text}"))
        })?;
        let function = self.machine.keep(&self.lua, &function).map_err(internal)?;
        Ok((function, flags))
    }

    fn chunk(&self, code: &[u8], name: &str) -> Result<Function, String> {
        let chunk = self.lua.load(code).set_name(name).set_mode(ChunkMode::Text);
        chunk.into_function().map_err(|error| match error {
            mlua::Error::SyntaxError { message, .. } => message,
            other => other.to_string(),
        })
    }

    /// Runs a library's code and takes what it registers.
    fn load(&mut self, code: &[u8]) -> Result<Vec<(FunctionInfo, Function)>, CommandError> {
        self.set_loading.call::<()>(true).map_err(internal)?;
        let registered = self.load_prepared(code);
        self.set_loading.call::<()>(false).map_err(internal)?;
        registered
    }

    fn load_prepared(
        &mut self,
        code: &[u8],
    ) -> Result<Vec<(FunctionInfo, Function)>, CommandError> {
        let chunk = self
            .chunk(code, "@user_function")
            .map_err(|text| CommandError::new(format!("ERR Error compiling function: {text}")))?;
        self.lua.set_app_data(Registrations {
            functions: Vec::new(),
            started: Instant::now(),
        });
        let result: mlua::Result<(bool, Value)> = self.run.call(chunk);
        let registrations = self.lua.remove_app_data::<Registrations>();
        let took = registrations.as_ref().map(|found| found.started.elapsed());
        self.is_spoiled |= took.is_some_and(|took| took > LOAD_TIME_MAX);
        match result.map_err(internal)? {
            (true, _) => Ok(registrations.map_or_else(Vec::new, |found| found.functions)),
            (false, failure) => {
                let text = failure
                    .as_table()
                    .and_then(|table| table.raw_get::<mlua::String>("err").ok())
                    .map_or_else(String::new, |text| text.to_string_lossy());
                Err(CommandError::new(format!(
                    "ERR Error registering functions: {text}"
                )))
            }
        }
    }

    /// The function of a library as all threads know it; loaded here first if it changed.
    fn function(
        &mut self,
        library: &Arc<Library>,
        index: usize,
    ) -> Result<KeptFunction, CommandError> {
        let loaded = self.libraries.get(&library.name);
        if !loaded.is_some_and(|loaded| Arc::ptr_eq(&loaded.of, library)) {
            let functions = self.load_again(library)?;
            let of = Arc::clone(library);
            let loaded = LoadedLibrary { of, functions };
            let former = self.libraries.insert(library.name.clone(), loaded);
            for function in former.iter().flat_map(|former| &former.functions) {
                self.machine.forget(*function);
            }
        }
        Ok(self.libraries[&library.name].functions[index])
    }

    /// The functions of a library that was loaded elsewhere.
    fn load_again(&mut self, library: &Library) -> Result<Vec<KeptFunction>, CommandError> {
        let (_, start) = shebang::of_library(&library.text)?;
        let registered = self.load(&library.text[start..])?;
        let functions = library.functions.iter().map(|info| {
            let found = registered.iter().find(|(name, _)| name.name == info.name);
            let (_, function) = found.ok_or(CommandError::fixed("ERR Function not found"))?;
            self.machine.keep(&self.lua, function).map_err(internal)
        });
        functions.collect()
    }

    fn run(
        &mut self,
        context: &mut Context<'_>,
        run: Run<'_>,
        reply: &mut Reply<'_>,
    ) -> mlua::Result<()> {
        let client_protocol = std::mem::take(&mut context.session.protocol);
        let database = context.session.database;
        let may_block = std::mem::replace(&mut context.may_block, false);
        let by_script = std::mem::replace(&mut context.by_script, true);
        let watch = Watch {
            name: run.name,
            is_function: run.is_function,
            command: run.call.command,
            limit_ms: context.settings.busy_reply_threshold_ms,
        };
        let buffers = std::mem::take(&mut self.buffers);
        let measured = (&watch, &mut self.tick_length, buffers);
        let mut running = Running::new(context, run.flags, run.call.is_read_only, measured);
        let start = Start {
            function: run.function,
            keys: run.call.keys,
            arguments: run.call.arguments,
            as_parameters: run.is_function,
        };
        let mut finished = current::enter(&mut running, || self.machine.run(&start));
        let script_protocol = running.protocol;
        self.is_spoiled |= running.is_killed;
        self.buffers = running.end();
        context.may_block = may_block;
        context.by_script = by_script;
        context.session.protocol = client_protocol;
        context.session.database = database;
        context.keys.select(database);
        if context.retry.is_none() {
            let start = reply.position();
            if finished.has_ended {
                convert::write_result(&mut finished.stack, script_protocol, reply);
            } else {
                write_failure(&self.lua, &mut finished, run.name, reply)?;
            }
            context.replied_error = reply.written_since(start).first() == Some(&b'-');
            if context.replied_error && !is_counted(&mut finished.stack) {
                let text = reply.written_since(start).get(1..).unwrap_or_default();
                context.services.note_error(&String::from_utf8_lossy(text));
            }
        }
        drop(finished);
        self.tune_collector_sometimes();
        Ok(())
    }

    /// Lua's collector works in small steps while memory is allocated, and after a cycle it pauses until the heap has grown. How
    /// much it may grow is decided here, from time to time: a small heap further than Lua would let it, because each cycle
    /// looks at all that is alive, and that is a tenth of the time of short scripts that make some garbage.
    fn tune_collector_sometimes(&mut self) {
        self.runs += 1;
        if self.runs < RUNS_PER_TUNING {
            return;
        }
        self.runs = 0;
        if self.lua.used_memory() <= SMALL_HEAP_BYTES {
            self.lua.gc_set_pause(PAUSE_OF_SMALL_HEAP);
        } else if self.lua.gc_set_pause(PAUSE) != PAUSE {
            // The pause that runs now was planned for a small heap.
            self.lua.gc_restart();
        }
    }
}

/// Called by Lua from time to time while it runs code.
fn look_at_clock(lua: &Lua) -> mlua::Result<VmState> {
    match current::with(|running| running.tick()) {
        Some(Tick::Continue) => {}
        Some(Tick::Pause) => {
            stack::suspend();
        }
        Some(Tick::End) => {
            return end_by_force(lua, "ERR Script killed by user with SCRIPT KILL...");
        }
        None => {
            let started = lua
                .app_data_ref::<Registrations>()
                .map(|found| found.started);
            if started.is_some_and(|started| started.elapsed() > LOAD_TIME_MAX) {
                return end_by_force(lua, "ERR FUNCTION LOAD timeout");
            }
        }
    }
    Ok(VmState::Continue)
}

/// Raises an error, and again at every line from now on, so that code that catches it does not get far.
fn end_by_force(lua: &Lua, text: &'static str) -> mlua::Result<VmState> {
    lua.set_global_hook(HookTriggers::EVERY_LINE, move |_, _| Err(reply_error(text)))?;
    Err(reply_error(text))
}

/// True if statistics know of the error that is on top, because it was a command's.
fn is_counted(stack: &mut Stack) -> bool {
    if stack.top() != Seen::Table {
        return false;
    }
    stack.push_field(Kept::Counted);
    let is_counted = stack.top() == Seen::Boolean(true);
    stack.pop();
    is_counted
}

/// The error reply of a script that failed: the error, and where.
fn write_failure(
    lua: &Lua,
    finished: &mut Finished<'_>,
    name: &str,
    reply: &mut Reply<'_>,
) -> mlua::Result<()> {
    let stack = &mut finished.stack;
    if stack.top() != Seen::Table {
        let text = finished.value(lua)?.to_string()?;
        reply.error(format!("ERR Error running script {name}, {text:.100}"));
        return Ok(());
    }
    let text = |stack: &Stack| match stack.top() {
        Seen::Text(text) => Some(text.to_vec()),
        _ => None,
    };
    stack.push_field(Kept::Err);
    let mut message = text(stack).unwrap_or_else(|| b"ERR unknown error".to_vec());
    message.truncate(up_to_nul(&message).len());
    stack.push_below();
    stack.push_field(Kept::Source);
    let source = text(stack);
    stack.pop();
    stack.push_field(Kept::Line);
    if let (Some(source), Seen::Number(line)) = (source, stack.top()) {
        message.extend_from_slice(format!(" script: {name}, on ").as_bytes());
        message.extend_from_slice(&source);
        message.extend_from_slice(format!(":{line}.").as_bytes());
    }
    (0..3).for_each(|_| stack.pop());
    reply.error(message);
    Ok(())
}
