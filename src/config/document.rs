//! `docs/configuration.md`, written from the table, so that it cannot say anything else than the server does.

use super::table::{Change, DIRECTIVES, Directive};
use super::value::Kind;
use super::without_effect;

const INTRODUCTION: &str = "\
# Configuration

<!-- Written from src/config/table.rs. To bring it up to date: LARDER_WRITE_DOCS=1 cargo test config::document -->

`larder [FILE] [--directive value ...]`: the file has the syntax of redis.conf, every directive can also be given as an
option, and options win over the file. `-` in place of the file reads standard input. `include PATH` reads another file
at that point; its last part may have wildcards.

Amounts of memory may have a unit: `k`, `m`, `g` are powers of 1000, `kb`, `mb`, `gb` of 1024.

*Change*: `live` directives can be changed with `CONFIG SET`; the others are read at start. `CONFIG REWRITE` brings the
file up to date with the running server and keeps comments and order. `later` directives are accepted, kept and shown, but
will be in force in a later version only; setting one to something else than its default gives a warning at the start.
";

/// The whole page.
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut section = "";
    for directive in DIRECTIVES.iter().filter(|directive| !directive.hidden) {
        if directive.section != section {
            section = directive.section;
            page.push_str(&format!("\n## {section}\n\n| directive | default | unit | change | |\n|---|---|---|---|---|\n"));
        }
        page.push_str(&row(directive));
    }
    page.push_str(&format!("\n## {}\n\n", without_effect::SECTION));
    page.push_str("They are accepted with a warning, kept, and shown by `CONFIG GET`.\n\n| why | directives |\n|---|---|\n");
    page.push_str(&by_reason(|kind| {
        matches!(kind, Kind::WithoutEffect | Kind::SizeWithoutEffect)
    }));
    page.push_str("\n## Directives of Redis that are refused\n\n");
    page.push_str("A server that only seemed to obey them would do harm. Their defaults are accepted.\n\n| why | directives |\n|---|---|\n");
    page.push_str(&by_reason(|kind| matches!(kind, Kind::OnlyDefault)));
    page
}

fn row(directive: &Directive) -> String {
    let alias = directive
        .alias
        .map(|alias| format!(" (also `{alias}`)"))
        .unwrap_or_default();
    let default = if directive.default.is_empty() {
        "\"\""
    } else {
        directive.default
    };
    let change = match directive.change {
        _ if directive.later => "later",
        Change::Live => "live",
        Change::AtStart | Change::Protected => "at start",
    };
    let (name, unit, description) = (directive.name, directive.unit, directive.description);
    format!("| `{name}`{alias} | `{default}` | {unit} | {change} | {description} |\n")
}

/// One row for each reason, in the order in which the reasons first appear.
fn by_reason(wanted: impl Fn(&Kind) -> bool) -> String {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for directive in without_effect::directives().filter(|directive| wanted(&directive.kind)) {
        let names = directive.names().map(|name| format!("`{name}`"));
        match reasons
            .iter_mut()
            .find(|(reason, _)| *reason == directive.description)
        {
            Some((_, list)) => list.extend(names),
            None => reasons.push((directive.description, names.collect())),
        }
    }
    reasons
        .iter()
        .map(|(reason, names)| format!("| {reason} | {} |\n", names.join(", ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_page_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        let page = super::markdown();
        if std::env::var_os("LARDER_WRITE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().expect("a directory"))
                .expect("docs/ can be created");
            std::fs::write(&path, &page).expect("the page can be written");
        }
        let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            checked_in == page,
            "LARDER_WRITE_DOCS=1 cargo test config::document brings it up to date"
        );
    }
}
