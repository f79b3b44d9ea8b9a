//! `docs/commands.md`, written from the rows, so that it cannot say anything else than the server does.

use super::command_docs::arguments;
use super::command_info::FLAG_NAMES;
use super::spec::{CommandSpec, Flags, Group};
use super::synopsis::synopsis;
use super::table;

const INTRODUCTION: &str = "\
# Commands

<!-- Written from the rows in src/commands. To bring it up to date: LARDER_WRITE_DOCS=1 cargo test commands::document -->

Every command that the server has; what is not here is answered with `ERR unknown command`. How a command differs from
Redis's, if it does, is in [differences.md](differences.md).

- `[ ]` may be left out, `|` separates what excludes each other, `...` may be repeated. What is in capitals stands for itself, in any case.
- *Arity* counts the command's name; a negative number means at least so many arguments.
- *Since* is the first Redis version that has the command; for the commands of the tiers, the first Larder version.
- *Flags* are those of `COMMAND INFO`, and three of Larder's own: `peeks` may be answered from a copy without making the key
  hot; `offloaded` walks the keyspace or waits for the disk, so it runs on another thread and without locks; `immediate` runs at
  once inside `MULTI`.
";

/// Larder's own flags, which COMMAND INFO does not show.
const OWN_FLAG_NAMES: &[(Flags, &str)] = &[
    (Flags::PEEKS, "peeks"),
    (Flags::OFFLOADED, "offloaded"),
    (Flags::NOT_QUEUED, "immediate"),
];

const GROUPS: &[(Group, &str)] = &[
    (Group::Connection, "Connection"),
    (Group::Generic, "Keys of any type"),
    (Group::String, "Strings"),
    (Group::Hash, "Hashes"),
    (Group::List, "Lists"),
    (Group::Set, "Sets"),
    (Group::SortedSet, "Sorted sets"),
    (Group::Transactions, "Transactions"),
    (Group::Server, "Server"),
    (Group::Bitmap, "Bitmaps"),
    (Group::HyperLogLog, "HyperLogLogs"),
    (Group::Geo, "Geographic indexes"),
    (Group::Stream, "Streams"),
    (Group::PubSub, "Publish and subscribe"),
    (Group::Scripting, "Scripts and functions"),
    (Group::Cluster, "Cluster"),
    (Group::Tier, "Tiers"),
];

/// The whole page.
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (group, title) in GROUPS {
        let mut rows: Vec<&CommandSpec> =
            table::all().filter(|spec| spec.group == *group).collect();
        if rows.is_empty() {
            continue;
        }
        rows.sort_by_key(|spec| spec.name);
        page.push_str(&format!("\n## {title}\n\n| command | arity | since | flags | time | |\n|---|---|---|---|---|---|\n"));
        for spec in rows {
            page.push_str(&row(None, spec));
            for subcommand in spec.subcommands {
                page.push_str(&row(Some(spec), subcommand));
            }
        }
    }
    page
}

fn row(container: Option<&CommandSpec>, spec: &CommandSpec) -> String {
    let name = match container {
        Some(container) => format!("{} {}", container.name, spec.name),
        None => spec.name.to_owned(),
    };
    let flags: Vec<&str> = FLAG_NAMES
        .iter()
        .chain(OWN_FLAG_NAMES)
        .filter(|(flag, _)| spec.flags.has(*flag))
        .map(|(_, name)| *name)
        .collect();
    let says_nothing = !spec.subcommands.is_empty() && spec.complexity == "O(1)";
    let time = if says_nothing {
        ""
    } else {
        spec.complexity.trim_end_matches('.')
    };
    let synopsis = synopsis(&name.to_uppercase(), &arguments(spec));
    let deprecation = spec.deprecated.map_or_else(String::new, |deprecation| {
        let (since, replaced_by) = (deprecation.since, deprecation.replaced_by);
        format!(" Deprecated since {since}; instead: {replaced_by}.")
    });
    let cells = [
        format!("`{synopsis}`"),
        spec.arity.to_string(),
        spec.since.to_owned(),
        flags.join(", "),
        time.to_owned(),
        format!("{}{deprecation}", spec.summary),
    ];
    format!(
        "| {} |\n",
        cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
    )
}

#[cfg(test)]
mod tests {
    use crate::commands::table;
    use std::path::Path;

    #[test]
    fn every_command_is_on_the_page() {
        let page = super::markdown();
        for spec in table::all() {
            let name = spec.name.to_uppercase();
            assert!(
                page.contains(&format!("| `{name}` |")) || page.contains(&format!("| `{name} ")),
                "{name} has no group on the page"
            );
        }
    }

    #[test]
    fn the_page_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md");
        let page = super::markdown();
        if std::env::var_os("LARDER_WRITE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().expect("a directory"))
                .expect("docs/ can be created");
            std::fs::write(&path, &page).expect("the page can be written");
        }
        let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            checked_in == page,
            "LARDER_WRITE_DOCS=1 cargo test commands::document brings it up to date"
        );
    }
}
