//! Scripts: Lua 5.1 as Redis runs it.
//!
//! - [`engine`]: the Lua states of a thread, compiled code, one run;
//! - `prelude.lua`: the sandbox; [`api`]: the `redis` table; [`json`], [`message_pack`], [`bits`], [`structs`]: libraries;
//! - [`running`]: what a run may do, and its nested commands; [`convert`]: values on their way in and out;
//! - [`store`], [`libraries`], [`shebang`], [`registration`]: what scripts and functions there are;
//! - [`raw`], [`values`]: Lua's own C interface, for what every run does;
//! - [`raised`], [`current`]: errors, and the way from Lua back to the running command;
//! - [`slow`], [`stack`]: scripts that run for too long, and how their thread gets away from them.
//!
//! The commands are in `scripting.rs` and `functions.rs`, one level up. Why it is built so: `docs/decisions/0014-scripts.md`.

mod api;
mod bits;
mod convert;
mod current;
pub mod dump;
pub mod engine;
mod json;
mod json_decode;
pub mod libraries;
mod message_pack;
mod raised;
mod raw;
mod registration;
mod running;
pub mod shebang;
pub mod slow;
pub mod stack;
pub mod store;
mod structs;
mod values;

use super::context::Context;
use crate::error::{CommandError, CommandResult};
use shebang::ScriptFlags;

/// Checks whether a script with these flags may start; one that declared none is checked command by command.
fn may_start(
    context: &Context<'_>,
    flags: Option<ScriptFlags>,
    is_read_only: bool,
) -> CommandResult {
    let Some(flags) = flags else { return Ok(()) };
    if flags.has(ScriptFlags::NO_WRITES) {
        return Ok(());
    }
    if is_read_only {
        return Err(CommandError::fixed(
            "ERR Can not execute a script with write flag using *_ro command.",
        ));
    }
    if context.settings.asks_for_replicas() {
        return Err(CommandError::NO_REPLICAS);
    }
    if !flags.has(ScriptFlags::ALLOW_OOM) && context.services.is_out_of_memory() {
        return Err(CommandError::fixed(
            "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
        ));
    }
    Ok(())
}

/// What the script or function that a command line would run says of itself; `None`: nothing, or it is not known.
pub fn declared_flags(
    scripts: &store::ScriptStore,
    command: &str,
    arguments: &[&[u8]],
) -> Option<ScriptFlags> {
    let named = *arguments.get(1)?;
    if command.starts_with("fcall") {
        let (library, index) = scripts.function(named)?;
        return Some(library.functions[index].flags);
    }
    if command.starts_with("evalsha") {
        let script = scripts.script(&store::parse_digest(named)?)?;
        return shebang::of_script(&script.text).ok()?.0;
    }
    shebang::of_script(named).ok()?.0
}
