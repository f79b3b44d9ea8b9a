//! All rows, and finding one by name.

use super::spec::CommandSpec;
use hashbrown::HashMap;
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
];

/// A row and its number in the table, by which statistics are kept.
#[derive(Clone, Copy)]
pub struct Row {
    /// Position in [`all`].
    pub number: usize,
    /// The row.
    pub spec: &'static CommandSpec,
}

static BY_NAME: LazyLock<HashMap<&'static [u8], Row, foldhash::fast::FixedState>> =
    LazyLock::new(|| {
        all()
            .enumerate()
            .map(|(number, spec)| (spec.name.as_bytes(), Row { number, spec }))
            .collect()
    });

/// Every top-level command.
pub fn all() -> impl Iterator<Item = &'static CommandSpec> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// The row for a name in any case.
pub fn find(name: &[u8]) -> Option<Row> {
    const NAME_BYTES_MAX: usize = 32;
    let mut lower = [0; NAME_BYTES_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    BY_NAME.get(&*lower).copied()
}

/// The subcommand of a container that the arguments name.
pub fn find_subcommand(container: &CommandSpec, name: &[u8]) -> Option<&'static CommandSpec> {
    container
        .subcommands
        .iter()
        .find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
}
