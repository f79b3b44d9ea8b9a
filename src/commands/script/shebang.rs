//! The first line of a script or library: `#!lua name=library flags=no-writes,allow-oom`.

use crate::error::CommandError;
use crate::resp::quoting;

/// What a script or function may do and where; a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScriptFlags(u8);

impl ScriptFlags {
    /// Never writes.
    pub const NO_WRITES: ScriptFlags = ScriptFlags(1);
    /// Runs although memory is short.
    pub const ALLOW_OOM: ScriptFlags = ScriptFlags(2);

    /// Every flag and its name, in the order in which FUNCTION LIST shows them.
    const NAMES: [(&'static str, ScriptFlags); 5] = [
        ("no-writes", ScriptFlags::NO_WRITES),
        ("allow-oom", ScriptFlags::ALLOW_OOM),
        ("allow-stale", ScriptFlags(4)),
        ("no-cluster", ScriptFlags(8)),
        ("allow-cross-slot-keys", ScriptFlags(16)),
    ];

    /// The flag of a name; `None` if there is no such flag.
    pub fn named(name: &str) -> Option<ScriptFlags> {
        let (_, flag) = Self::NAMES.iter().find(|(known, _)| *known == name)?;
        Some(*flag)
    }

    /// The names of all that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let set = Self::NAMES
            .into_iter()
            .filter(move |(_, flag)| self.has(*flag));
        set.map(|(name, _)| name)
    }

    /// True if all of `other` is in here.
    pub fn has(self, other: ScriptFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    pub fn and(self, other: ScriptFlags) -> ScriptFlags {
        ScriptFlags(self.0 | other.0)
    }
}

/// The flags of a script for EVAL (`None`: no shebang, so that nothing was declared), and where its code begins: at the
/// end of the first line, so that line numbers stay what the author sees.
///
/// # Errors
/// The line is not a shebang that is understood.
pub fn of_script(text: &[u8]) -> Result<(Option<ScriptFlags>, usize), CommandError> {
    if !text.starts_with(b"#!") {
        return Ok((None, 0));
    }
    let Some(end) = memchr::memchr(b'\n', text) else {
        return Err(CommandError::fixed("ERR Invalid script shebang"));
    };
    let parts = quoting::split(&text[..end]).unwrap_or_default();
    let Some((engine, options)) = parts.split_first() else {
        return Err(CommandError::fixed("ERR Invalid engine in script shebang"));
    };
    if engine != b"#!lua" {
        return Err(unexpected("Unexpected engine in script shebang", engine));
    }
    let mut flags = ScriptFlags::default();
    for option in options {
        let Some(names) = option.strip_prefix(b"flags=") else {
            return Err(unexpected("Unknown lua shebang option", option));
        };
        if names.is_empty() {
            continue;
        }
        for name in names.split(|byte| *byte == b',') {
            let flag = std::str::from_utf8(name).ok().and_then(ScriptFlags::named);
            let flag = flag.ok_or_else(|| unexpected("Unexpected flag in script shebang", name))?;
            flags = flags.and(flag);
        }
    }
    Ok((Some(flags), end))
}

fn unexpected(what: &str, found: &[u8]) -> CommandError {
    CommandError::new(format!("ERR {what}: {}", String::from_utf8_lossy(found)))
}

/// The name of a library, and where its code begins.
///
/// # Errors
/// There is no shebang, it is not understood, or it names no library.
pub fn of_library(text: &[u8]) -> Result<(String, usize), CommandError> {
    const INVALID: CommandError = CommandError::fixed("ERR Invalid library metadata");
    if !text.starts_with(b"#!") {
        return Err(CommandError::fixed("ERR Missing library metadata"));
    }
    let end = memchr::memchr(b'\n', text).ok_or(INVALID)?;
    let parts = quoting::split(&text[..end]).map_err(|_| INVALID)?;
    let (engine, options) = parts.split_first().ok_or(INVALID)?;
    let mut name = None;
    for option in options {
        let value = option
            .split_at_checked(5)
            .filter(|(key, _)| key.eq_ignore_ascii_case(b"name="))
            .map(|(_, value)| value);
        let Some(value) = value else {
            return Err(unexpected("Invalid metadata value given", option));
        };
        if name.replace(value).is_some() {
            return Err(CommandError::fixed(
                "ERR Invalid metadata value, name argument was given multiple times",
            ));
        }
    }
    let name = name.ok_or(CommandError::fixed("ERR Library name was not given"))?;
    if !is_name(name) {
        return Err(CommandError::fixed(
            "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        ));
    }
    if !engine[2..].eq_ignore_ascii_case(b"lua") {
        let engine = String::from_utf8_lossy(&engine[2..]);
        return Err(CommandError::new(format!(
            "ERR Engine '{engine}' not found"
        )));
    }
    Ok((String::from_utf8_lossy(name).into_owned(), end))
}

/// True for what may name a library or a function.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_declare_flags_in_their_first_line() {
        let no_writes = Some(ScriptFlags::NO_WRITES);
        type Expected = Result<(Option<ScriptFlags>, usize), &'static str>;
        let cases: &[(&str, Expected)] = &[
            ("return 1", Ok((None, 0))),
            ("#!lua\nreturn 1", Ok((Some(ScriptFlags::default()), 5))),
            ("#!lua flags=no-writes\nreturn 1", Ok((no_writes, 21))),
            (
                "#!lua flags=\nreturn 1",
                Ok((Some(ScriptFlags::default()), 12)),
            ),
            ("#!lua", Err("ERR Invalid script shebang")),
            (
                "#!perl\n",
                Err("ERR Unexpected engine in script shebang: #!perl"),
            ),
            (
                "#!lua name=x\n",
                Err("ERR Unknown lua shebang option: name=x"),
            ),
            (
                "#!lua flags=a\n",
                Err("ERR Unexpected flag in script shebang: a"),
            ),
        ];
        for (script, expected) in cases {
            let found = of_script(script.as_bytes());
            let found = found.as_ref().map_err(CommandError::text);
            assert_eq!(found.copied(), *expected, "{script}");
        }
    }

    #[test]
    fn libraries_have_a_name() {
        let cases: &[(&str, Result<&str, &str>)] = &[
            ("#!lua name=lib\ncode", Ok("lib")),
            ("#!LUA NAME=\"lib\"\ncode", Ok("lib")),
            ("code", Err("ERR Missing library metadata")),
            ("#!lua name=lib", Err("ERR Invalid library metadata")),
            ("#!lua\n", Err("ERR Library name was not given")),
            ("#!js name=lib\n", Err("ERR Engine 'js' not found")),
            (
                "#!lua foo=bar\n",
                Err("ERR Invalid metadata value given: foo=bar"),
            ),
            (
                "#!lua name=a name=b\n",
                Err("ERR Invalid metadata value, name argument was given multiple times"),
            ),
            (
                "#!lua name=bad-name\n",
                Err(
                    "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
                ),
            ),
        ];
        for (library, expected) in cases {
            let found = of_library(library.as_bytes());
            let found = found
                .as_ref()
                .map(|(name, _)| name.as_str())
                .map_err(CommandError::text);
            assert_eq!(found, *expected, "{library}");
        }
    }
}
