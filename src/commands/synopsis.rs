//! A command line as documentation shows it, from the tree of its arguments: `GETEX key [EX seconds | PX milliseconds | PERSIST]`.

use super::syntax::{Argument, Kind};

/// The command's name with all its arguments.
pub fn synopsis(name: &str, arguments: &[Argument<'_>]) -> String {
    let mut line = name.to_owned();
    for argument in arguments {
        line.push(' ');
        line.push_str(&shown(argument));
    }
    line
}

/// An argument with all that can be said of it.
fn shown(argument: &Argument<'_>) -> String {
    let body = body(argument);
    let with_token = match (&argument.kind, argument.token) {
        (Kind::PureToken, _) | (_, None) => body.clone(),
        (_, Some(token)) => format!("{token} {body}"),
    };
    let repeated = match argument.multiple_token {
        true => &with_token,
        false => &body,
    };
    let all = match argument.multiple {
        true => format!("{with_token} [{repeated} ...]"),
        false => with_token,
    };
    match argument.optional {
        true => format!("[{all}]"),
        false => all,
    }
}

/// An argument once and without its token.
fn body(argument: &Argument<'_>) -> String {
    let join = |arguments: &[Argument<'_>], separator: &str| {
        let shown: Vec<String> = arguments.iter().map(shown).collect();
        shown.join(separator)
    };
    match &argument.kind {
        Kind::Value(_) => argument.display.unwrap_or(&argument.name).to_owned(),
        Kind::PureToken => argument.token.unwrap_or_default().to_owned(),
        Kind::Block(nested) => join(nested, " "),
        Kind::OneOf(nested) => {
            let choices = join(nested, " | ");
            // Brackets that say "may be left out" are brackets enough.
            let has_brackets = argument.optional && argument.token.is_none() && !argument.multiple;
            match has_brackets {
                true => choices,
                false => format!("<{choices}>"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::syntax::parse;

    #[test]
    fn synopses_look_as_those_of_redis() {
        let cases = [
            ("", "X"),
            ("key value", "X key value"),
            ("key...", "X key [key ...]"),
            ("key [element...]", "X key [element [element ...]]"),
            ("storekey{key}:key", "X key"),
            ("condition[NX | XX] [GET]@6.2.0", "X [NX | XX] [GET]"),
            ("where<LEFT | RIGHT>", "X <LEFT | RIGHT>"),
            ("[COUNT count:integer]", "X [COUNT count]"),
            ("[COUNT count:integer [ANY]]", "X [COUNT count [ANY]]"),
            (
                "[WEIGHTS weight:integer...] [AGGREGATE <SUM | MIN>]",
                "X [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN>]",
            ),
            (
                "[GET pattern:pattern]...",
                "X [GET pattern [GET pattern ...]]",
            ),
            ("data<field value>...", "X field value [field value ...]"),
            (
                "<STREAMS key... id...>",
                "X STREAMS key [key ...] id [id ...]",
            ),
            ("id-selector<auto-id='*' | id>", "X <* | id>"),
            (
                "operation[GET offset | OVERFLOW <WRAP | SAT>]...",
                "X [<GET offset | OVERFLOW <WRAP | SAT>> [<GET offset | OVERFLOW <WRAP | SAT>> ...]]",
            ),
        ];
        for (syntax, expected) in cases {
            let arguments = parse(syntax).unwrap_or_else(|error| panic!("{syntax}: {error}"));
            assert_eq!(synopsis("X", &arguments), expected);
        }
    }
}
