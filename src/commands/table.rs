//! All rows, and finding one by name.

use super::spec::CommandSpec;
use std::sync::LazyLock;

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
    super::generic::COMMANDS,
    super::generic_expiry::COMMANDS,
    super::generic_object::COMMANDS,
    super::generic_keyspace::COMMANDS,
    super::tiers::COMMANDS,
    super::scripting::COMMANDS,
    super::functions::COMMANDS,
];

/// A row and its number in the table, by which statistics are kept.
#[derive(Clone, Copy)]
pub struct Row {
    /// Position in [`all`].
    pub number: usize,
    /// The row.
    pub spec: &'static CommandSpec,
}

/// Slots of the name index: a power of two, several times the number of commands.
const INDEX_SLOTS: usize = 1024;

/// Open addressing by the first eight bytes of a name. Finding a command is part of every request, and this takes a
/// multiplication and one comparison.
static INDEX: LazyLock<[Option<Row>; INDEX_SLOTS]> = LazyLock::new(|| {
    let mut index = [None; INDEX_SLOTS];
    for (number, spec) in all().enumerate() {
        let mut slot = first_slot(spec.name.as_bytes());
        while index[slot].is_some() {
            slot = (slot + 1) % INDEX_SLOTS;
        }
        index[slot] = Some(Row { number, spec });
    }
    index
});

/// Where the search for a name begins; the same for upper and lower case.
fn first_slot(name: &[u8]) -> usize {
    const LOWER_CASE_BITS: u64 = 0x2020_2020_2020_2020;
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut first = [0; 8];
    let length = name.len().min(8);
    first[..length].copy_from_slice(&name[..length]);
    let mixed = (u64::from_le_bytes(first) | LOWER_CASE_BITS)
        .wrapping_add(name.len() as u64)
        .wrapping_mul(MULTIPLIER);
    (mixed >> (64 - INDEX_SLOTS.trailing_zeros())) as usize
}

/// Every top-level command.
pub fn all() -> impl Iterator<Item = &'static CommandSpec> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// The row for a name in any case.
pub fn find(name: &[u8]) -> Option<Row> {
    let index = &*INDEX;
    let mut slot = first_slot(name);
    while let Some(row) = index[slot] {
        if row.spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(row);
        }
        slot = (slot + 1) % INDEX_SLOTS;
    }
    None
}

/// The subcommand of a container that the arguments name.
pub fn find_subcommand(container: &CommandSpec, name: &[u8]) -> Option<&'static CommandSpec> {
    container
        .subcommands
        .iter()
        .find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_in_any_case_and_nothing_else_is() {
        for (number, spec) in all().enumerate() {
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
