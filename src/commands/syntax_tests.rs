//! The notation: what it stands for, and what it is not.

use super::*;

/// A tree on one line: name, type, then what else there is to say.
fn shown(arguments: &[Argument<'_>]) -> String {
    let shown: Vec<String> = arguments.iter().map(one_shown).collect();
    shown.join(" ")
}

fn one_shown(argument: &Argument<'_>) -> String {
    let mut text = format!("{}:{}", argument.name, argument.type_name());
    let marks = [
        ("token", argument.token),
        ("display", argument.display),
        ("since", argument.since),
        ("until", argument.deprecated_since),
        ("may", Some("be-left-out").filter(|_| argument.optional)),
        ("repeats", Some("itself").filter(|_| argument.multiple)),
        ("repeats", Some("token").filter(|_| argument.multiple_token)),
    ];
    for (name, value) in marks {
        if let Some(value) = value {
            text.push_str(&format!(",{name}={value}"));
        }
    }
    if let Some(index) = argument.key_spec_index {
        text.push_str(&format!(",keys={index}"));
    }
    match argument.nested() {
        Some(nested) => format!("{text}({})", shown(nested)),
        None => text,
    }
}

#[test]
fn each_form_stands_for_one_tree() {
    let cases = [
        ("", ""),
        ("member", "member:string"),
        ("count:integer score:double", "count:integer score:double"),
        (
            "time:unix-time pattern:pattern",
            "time:unix-time pattern:pattern",
        ),
        ("key newkey:key", "key:key,keys=0 newkey:key,keys=1"),
        ("key1:key key2:key#0", "key1:key,keys=0 key2:key,keys=0"),
        (
            "[BY by{pattern}:pattern#1] to:key",
            "by:pattern,token=BY,display=pattern,may=be-left-out,keys=1 to:key,keys=2",
        ),
        ("key:string", "key:string"),
        ("key...", "key:key,repeats=itself,keys=0"),
        (
            "[field...]@7.0.0",
            "field:string,since=7.0.0,may=be-left-out,repeats=itself",
        ),
        (
            "FULL NX",
            "full:pure-token,token=FULL nx:pure-token,token=NX",
        ),
        ("auto-id='*'", "auto-id:pure-token,token=*"),
        ("'$'", "$:pure-token,token=$"),
        ("[change=CH]", "change:pure-token,token=CH,may=be-left-out"),
        (
            "[GET]@6.2.0",
            "get:pure-token,token=GET,since=6.2.0,may=be-left-out",
        ),
        ("<STORE to>", "to:string,token=STORE"),
        (
            "[LIMIT offset:integer count:integer]",
            "limit:block,token=LIMIT,may=be-left-out(offset:integer count:integer)",
        ),
        (
            "group-block<GROUP group consumer>",
            "group-block:block,token=GROUP(group:string consumer:string)",
        ),
        (
            "data<field value>...",
            "data:block,repeats=itself(field:string value:string)",
        ),
        (
            "[GET field]... [WEIGHTS weight...]",
            "field:string,token=GET,may=be-left-out,repeats=itself,repeats=token \
             weight:string,token=WEIGHTS,may=be-left-out,repeats=itself",
        ),
        (
            "where<LEFT | RIGHT@6.2.0>",
            "where:oneof(left:pure-token,token=LEFT right:pure-token,token=RIGHT,since=6.2.0)",
        ),
        (
            "condition[NX | XX]@7.0.0",
            "condition:oneof,since=7.0.0,may=be-left-out(nx:pure-token,token=NX xx:pure-token,token=XX)",
        ),
        (
            "a<EX seconds@6.2.0 | <B one two>@6.0.0 | KEEP>",
            "a:oneof(seconds:string,token=EX,since=6.2.0 b:block,token=B,since=6.0.0(one:string two:string) \
             keep:pure-token,token=KEEP)",
        ),
        (
            "[AGGREGATE <SUM | MIN>]",
            "aggregate:oneof,token=AGGREGATE,may=be-left-out(sum:pure-token,token=SUM min:pure-token,token=MIN)",
        ),
        (
            "kind[TYPE <SUM | MIN>]",
            "kind:oneof,token=TYPE,may=be-left-out(sum:pure-token,token=SUM min:pure-token,token=MIN)",
        ),
        (
            "all[<COUNT count> [ANY]]",
            "all:block,may=be-left-out(count:string,token=COUNT any:pure-token,token=ANY,may=be-left-out)",
        ),
        (
            "both<<NO> ONE>",
            "both:block(no:pure-token,token=NO one:pure-token,token=ONE)",
        ),
        (
            "old{ip:port}@-2.8.12 other@1.0.0-2.0.0",
            "old:string,display=ip:port,until=2.8.12 other:string,since=1.0.0,until=2.0.0",
        ),
    ];
    for (syntax, expected) in cases {
        let arguments = parse(syntax).unwrap_or_else(|error| panic!("{syntax}: {error}"));
        assert_eq!(shown(&arguments), expected, "{syntax}");
    }
}

#[test]
fn what_is_not_in_the_notation_is_refused() {
    let cases = [
        (" ", "no argument", 0),
        ("key ", "no argument", 4),
        ("key  value", "no argument", 4),
        ("key, value", "a bracket that nothing opens", 3),
        ("key]", "a bracket that nothing opens", 3),
        ("a b | c", "a bracket that nothing opens", 3),
        ("[NX", "a bracket that is not closed", 3),
        ("a<NX]", "a bracket that is not closed", 4),
        ("[]", "no argument", 1),
        ("a<NX | >", "no argument", 7),
        ("a<NX |XX>", "no argument", 5),
        ("[NX | XX]", "a group without a name", 9),
        ("[field value]", "a group without a name", 13),
        ("a[b<c d | E>]", "two names for one argument", 13),
        ("a[NX]", "two names for one argument", 5),
        ("[GET <SET value>]", "two words for one argument", 17),
        ("count:number", "no type has this name", 12),
        ("count:", "no type has this name", 6),
        ("key#", "no number of a key specification", 4),
        ("name{shown", "a brace that is not closed", 10),
        ("'*", "a quote that does not end", 2),
        ("''", "no word", 2),
        ("name=", "no word", 5),
        ("[count@]", "no version, or two", 7),
        ("[count@7.0.0]@7.2.0", "no version, or two", 19),
    ];
    for (syntax, what, at) in cases {
        assert_eq!(parse(syntax), Err(SyntaxError { at, what }), "{syntax}");
    }
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-cA-C0-2.:@#{}<>|\\[\\]'= *-]{0,40}") {
            if let Err(error) = parse(&text) {
                prop_assert!(error.at <= text.len());
            }
        }
    }
}
