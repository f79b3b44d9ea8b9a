//! All rows, and finding one by name.

use super::spec::CommandSpec;
use std::sync::{LazyLock, OnceLock};

/// The families. A new family is added here.
pub const FAMILIES: &[&[CommandSpec]] = &[
    super::lists::COMMANDS,
    super::lists_move::COMMANDS,
    super::lists_search::COMMANDS,
    super::sets::COMMANDS,
    super::sets_algebra::COMMANDS,
    super::sets_random::COMMANDS,
    super::sorted_sets::COMMANDS,
    super::sorted_sets_algebra::COMMANDS,
    super::sorted_sets_pop::COMMANDS,
    super::sorted_sets_range::COMMANDS,
    super::sorted_sets_remove::COMMANDS,
    super::connection::COMMANDS,
    super::client::COMMANDS,
    super::acl::commands::COMMANDS,
    super::slow_log::COMMANDS,
    super::memory::COMMANDS,
    super::migrate::COMMANDS,
    super::standalone::COMMANDS,
    super::latency::COMMANDS,
    super::introspection::COMMANDS,
    super::transactions::COMMANDS,
    super::administration::COMMANDS,
    super::strings::COMMANDS,
    super::strings_numbers::COMMANDS,
    super::strings_ranges::COMMANDS,
    super::strings_lcs::COMMANDS,
    super::hashes::COMMANDS,
    super::hashes_numbers::COMMANDS,
    super::hashes_walk::COMMANDS,
    super::hash_deadlines::COMMANDS,
    super::hash_expiring::COMMANDS,
    super::generic::COMMANDS,
    super::dump::COMMANDS,
    super::generic_expiry::COMMANDS,
    super::generic_object::COMMANDS,
    super::generic_keyspace::COMMANDS,
    super::tiers::COMMANDS,
    super::scripting::COMMANDS,
    super::functions::COMMANDS,
    super::streams::COMMANDS,
    super::streams_groups::COMMANDS,
    super::streams_info::COMMANDS,
    super::streams_pending::COMMANDS,
    super::streams_read::COMMANDS,
    super::bitmaps::COMMANDS,
    super::bitmaps_fields::COMMANDS,
    super::bitmaps_operations::COMMANDS,
    super::hyperloglog::COMMANDS,
    super::geo::COMMANDS,
    super::geo_search::COMMANDS,
    super::sort::COMMANDS,
    super::strings_conditions::COMMANDS,
    super::delprefix::COMMANDS,
    super::pubsub::COMMANDS,
    super::client_control::COMMANDS,
    super::lists_blocking::COMMANDS,
    super::sorted_sets_blocking::COMMANDS,
    super::waiting::COMMANDS,
];

/// A row and its number in [`listed`], by which statistics are kept and ACL rules name it.
#[derive(Clone, Copy)]
pub struct Row {
    /// Position in [`listed`].
    pub number: usize,
    /// The row.
    pub spec: &'static CommandSpec,
}

/// A command or subcommand.
#[derive(Clone, Copy)]
pub struct Listed {
    /// The row.
    pub spec: &'static CommandSpec,
    /// The container that it belongs to, if it is a subcommand.
    pub container: Option<&'static CommandSpec>,
}

impl Listed {
    /// `get`, or `client|id`.
    pub fn full_name(&self) -> String {
        self.container.map_or_else(
            || self.spec.name.to_owned(),
            |container| format!("{}|{}", container.name, self.spec.name),
        )
    }

    /// The subcommands that clients know of.
    pub fn subcommands(self) -> impl Iterator<Item = Listed> {
        let container = Some(self.spec);
        let subcommands = self.spec.listed_subcommands().iter();
        subcommands.map(move |spec| Listed { spec, container })
    }
}

/// Every command, each container followed by its subcommands.
pub fn listed() -> &'static [Listed] {
    static LISTED: LazyLock<Vec<Listed>> = LazyLock::new(|| {
        let with_subcommands = |spec: &'static CommandSpec| {
            let own = Listed {
                spec,
                container: None,
            };
            std::iter::once(own).chain(own.subcommands())
        };
        all().flat_map(with_subcommands).collect()
    });
    &LISTED
}

/// Slots of the name index: a power of two, several times the number of commands.
const INDEX_SLOTS: usize = 1024;

/// What `rename-command` says: the former name and the new one, which is empty for a command that is not to be had.
static RENAMED: OnceLock<Vec<(String, String)>> = OnceLock::new();

/// Gives commands other names, for the life of the process. To be called once, before any command is looked up.
///
/// # Errors
/// A command that does not exist, or a name that is taken.
pub fn rename(renamed: Vec<(String, String)>) -> Result<(), String> {
    let mut names: Vec<String> = all().map(|spec| spec.name.to_owned()).collect();
    for (from, to) in &renamed {
        let known = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(from));
        let known = known.ok_or_else(|| format!("rename-command: no such command '{from}'"))?;
        names.swap_remove(known);
        if !to.is_empty() {
            if names.iter().any(|name| name.eq_ignore_ascii_case(to)) {
                return Err(format!("rename-command: '{to}' is the name of a command"));
            }
            names.push(to.clone());
        }
    }
    let _ = RENAMED.set(renamed);
    Ok(())
}

/// An occupied slot of the index.
#[derive(Clone, Copy)]
struct Slot {
    /// What [`folded_bytes`] makes of the name.
    folded: u64,
    /// The name that clients use, which `rename-command` may have changed.
    name: &'static str,
    /// It has at most eight bytes, all of them letters: length and `folded` say all.
    is_short: bool,
    row: Row,
}

impl Slot {
    fn new(name: &'static str, row: Row) -> Slot {
        Slot {
            folded: folded_bytes(name.as_bytes()),
            name,
            is_short: name.len() <= 8 && name.bytes().all(|byte| byte.is_ascii_alphabetic()),
            row,
        }
    }

    #[inline]
    fn is_named(&self, name: &[u8], folded: u64) -> bool {
        self.folded == folded
            && self.name.len() == name.len()
            && (self.is_short || self.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// Open addressing by the first eight bytes of a name. Finding a command is part of every request, and this takes a
/// multiplication and one comparison.
static INDEX: LazyLock<[Option<Slot>; INDEX_SLOTS]> = LazyLock::new(|| {
    let mut index: [Option<Slot>; INDEX_SLOTS] = [None; INDEX_SLOTS];
    for (number, row) in listed().iter().enumerate() {
        let Some(name) = name_in_use(row).filter(|_| row.container.is_none()) else {
            continue;
        };
        let mut slot = first_slot(folded_bytes(name.as_bytes()), name.len());
        while index[slot].is_some() {
            slot = (slot + 1) % INDEX_SLOTS;
        }
        let spec = row.spec;
        index[slot] = Some(Slot::new(name, Row { number, spec }));
    }
    index
});

/// The name that clients use for a command; `None` if it is not to be had.
fn name_in_use(row: &Listed) -> Option<&'static str> {
    let renamed = RENAMED.get().map_or(&[][..], Vec::as_slice);
    let found = renamed
        .iter()
        .rfind(|(from, _)| from.eq_ignore_ascii_case(row.spec.name));
    match found {
        None => Some(row.spec.name),
        Some((_, to)) => (!to.is_empty()).then_some(to),
    }
}

/// Where the search for a name of this length begins.
#[inline]
fn first_slot(folded: u64, length: usize) -> usize {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = folded.wrapping_add(length as u64).wrapping_mul(MULTIPLIER);
    (mixed >> (64 - INDEX_SLOTS.trailing_zeros())) as usize
}

/// The first eight bytes of a name, the same for upper and lower case; of a shorter one all, some of them twice. A copy of variable
/// length would be a call.
#[inline]
fn folded_bytes(name: &[u8]) -> u64 {
    const LOWER_CASE_BITS: u64 = 0x2020_2020_2020_2020;
    let bytes = match name {
        [first, middle @ .., last] if name.len() < 4 => {
            let middle = middle.first().copied().unwrap_or_default();
            u64::from(*first) | u64::from(middle) << 8 | u64::from(*last) << 16
        }
        _ => match (
            name.first_chunk::<8>(),
            name.first_chunk::<4>(),
            name.last_chunk::<4>(),
        ) {
            (Some(first), ..) => u64::from_le_bytes(*first),
            (None, Some(first), Some(last)) => {
                u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
            }
            _ => name.first().copied().map_or(0, u64::from),
        },
    };
    bytes | LOWER_CASE_BITS
}

/// Every top-level command.
pub fn all() -> impl Iterator<Item = &'static CommandSpec> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// The row for a name in any case.
pub fn find(name: &[u8]) -> Option<Row> {
    let index = &*INDEX;
    let folded = folded_bytes(name);
    let mut slot = first_slot(folded, name.len());
    while let Some(known) = &index[slot] {
        if known.is_named(name, folded) {
            return Some(known.row);
        }
        slot = (slot + 1) % INDEX_SLOTS;
    }
    None
}

/// The subcommand of a container that the name means.
pub fn find_subcommand(container: Row, name: &[u8]) -> Option<Row> {
    let subcommands = container.spec.subcommands;
    let index = subcommands
        .iter()
        .position(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))?;
    let is_listed = !container.spec.listed_subcommands().is_empty();
    Some(Row {
        number: container.number + if is_listed { 1 + index } else { 0 },
        spec: &subcommands[index],
    })
}

/// A command by its full name, `get` or `client|id`, whatever `rename-command` says.
pub fn by_full_name(name: &[u8]) -> Option<Row> {
    let number = listed().iter().position(|row| {
        let mut parts = name.splitn(2, |byte| *byte == b'|');
        let mut is_next = |wanted: &str| {
            parts
                .next()
                .is_some_and(|part| part.eq_ignore_ascii_case(wanted.as_bytes()))
        };
        row.container
            .is_none_or(|container| is_next(container.name))
            && is_next(row.spec.name)
            && parts.next().is_none()
    })?;
    Some(Row {
        number,
        spec: listed()[number].spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_in_any_case_and_nothing_else_is() {
        for (number, row) in listed().iter().enumerate() {
            let spec = row.spec;
            let full = by_full_name(row.full_name().to_uppercase().as_bytes());
            assert_eq!(full.map(|row| row.number), Some(number));
            if let Some(container) = row.container {
                let container = find(container.name.as_bytes()).expect("a container");
                let found = find_subcommand(container, spec.name.as_bytes());
                assert_eq!(found.map(|row| row.number), Some(number));
                continue;
            }
            for name in [spec.name.to_lowercase(), spec.name.to_uppercase()] {
                assert_eq!(
                    find(name.as_bytes()).map(|row| row.number),
                    Some(number),
                    "{name}"
                );
            }
            assert!(
                find(format!("{}x", spec.name).as_bytes()).is_none_or(|row| row.number != number)
            );
        }
        assert!(find(b"").is_none());
        assert!(find(&[b'x'; 1000]).is_none());
        assert!(all().count() * 2 < INDEX_SLOTS);
    }
}
