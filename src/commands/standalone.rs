//! Commands about replication, clusters and modules, answered as a server answers that has none of them: it is a master
//! without replicas, its cluster support is off, and no module is loaded.

use super::categories::Categories;
use super::client::write_help;
use super::context::Context;
use super::spec::{CommandFunction, CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use crate::resp::number::parse_integer;

fn role(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.array_header(3);
    reply.bulk(b"master");
    reply.integer(0);
    reply.array_header(0);
    Ok(())
}

/// REPLICAOF and SLAVEOF: only `NO ONE`, which is the case anyway.
fn replica_of(_: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    if arguments[1].eq_ignore_ascii_case(b"no") && arguments[2].eq_ignore_ascii_case(b"one") {
        reply.ok();
        return Ok(());
    }
    let port = parse_integer(arguments[2]).filter(|port| (0..=65_535).contains(port));
    port.ok_or(CommandError::fixed("ERR Invalid master port"))?;
    Err(CommandError::fixed(
        "ERR Larder does not replicate, so it cannot be a replica",
    ))
}

fn replication_settings(
    _: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    if arguments.len().is_multiple_of(2) {
        return Err(CommandError::SYNTAX);
    }
    for pair in arguments[1..].chunks(2) {
        let option = pair[0].to_ascii_lowercase();
        match option.as_slice() {
            b"listening-port" => {
                parse_integer(pair[1]).ok_or(CommandError::NOT_INTEGER)?;
            }
            b"rdb-only" => {
                let value = parse_integer(pair[1]).filter(|value| (0..=1).contains(value));
                value.ok_or(CommandError::NOT_INTEGER)?;
            }
            b"ip-address" | b"capa" | b"rdb-filter-only" => {}
            // Between servers that replicate, nobody waits for a reply to these.
            b"ack" | b"getack" => return Ok(()),
            _ => {
                let option = String::from_utf8_lossy(pair[0]);
                return Err(CommandError::new(format!(
                    "ERR Unrecognized REPLCONF option: {option}"
                )));
            }
        }
    }
    reply.ok();
    Ok(())
}

fn synchronize(_: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    if arguments
        .get(3)
        .is_some_and(|option| option.eq_ignore_ascii_case(b"failover"))
    {
        return Err(CommandError::fixed(
            "ERR PSYNC FAILOVER can't be sent to a master.",
        ));
    }
    Err(CommandError::fixed(
        "ERR Larder does not replicate, so it cannot feed a replica",
    ))
}

fn failover(_: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    if let [_, option] = arguments
        && option.eq_ignore_ascii_case(b"abort")
    {
        return Err(CommandError::fixed("ERR No failover in progress."));
    }
    let mut index = 1;
    while index < arguments.len() {
        let option = arguments[index].to_ascii_lowercase();
        index += match (option.as_slice(), arguments.len() - index - 1) {
            (b"to", 2..) => 3,
            (b"timeout", 1..) => {
                let timeout_ms =
                    parse_integer(arguments[index + 1]).ok_or(CommandError::NOT_INTEGER)?;
                if timeout_ms <= 0 {
                    return Err(CommandError::fixed(
                        "ERR FAILOVER timeout must be greater than 0",
                    ));
                }
                2
            }
            (b"force", _) => 1,
            _ => return Err(CommandError::SYNTAX),
        };
    }
    Err(CommandError::fixed(
        "ERR FAILOVER requires connected replicas.",
    ))
}

/// CLUSTER and all its subcommands, READONLY, READWRITE, ASKING.
fn no_cluster(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::fixed(
        "ERR This instance has cluster support disabled",
    ))
}

fn module_container(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::wrong_arity("module"))
}

fn cluster_container(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::wrong_arity("cluster"))
}

fn module_list(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.array_header(0);
    Ok(())
}

fn no_modules(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::fixed(
        "ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you can run it from a local \
         connection, otherwise you need to set this option in the configuration file, and then restart the server.",
    ))
}

fn module_help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const HELP: &[&str] = &["LIST", "    Lists the modules. There are none."];
    write_help("MODULE", HELP, reply);
    Ok(())
}

const ALWAYS: Flags = Flags::LOADING.and(Flags::STALE);
const ASKS: Flags = Flags::STALE;
const ADMIN: Flags = Flags::ADMIN.and(Flags::STALE);
const CHANGES: Flags = ADMIN.and(Flags::NO_ASYNC_LOADING);
const LOADS: Flags = Flags::ADMIN
    .and(Flags::NOSCRIPT)
    .and(Flags::NO_ASYNC_LOADING);
const VARIES: &[&str] = &["nondeterministic_output"];

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    summary: &'static str,
    function: CommandFunction,
) -> CommandSpec {
    CommandSpec {
        summary,
        ..CommandSpec::new(name, arity, flags, KeySpec::NONE, Group::Server, function)
    }
}

const fn cluster_row(
    name: &'static str,
    arity: i32,
    since: &'static str,
    flags: Flags,
) -> CommandSpec {
    CommandSpec {
        since,
        group: Group::Cluster,
        ..row(
            name,
            arity,
            flags,
            "Answers that there is no cluster.",
            no_cluster,
        )
    }
}

const CLUSTER: &[CommandSpec] = &[
    cluster_row("addslots", -3, "3.0.0", CHANGES).with_syntax("slot:integer..."),
    cluster_row("addslotsrange", -4, "7.0.0", CHANGES)
        .with_syntax("range<start-slot:integer end-slot:integer>..."),
    cluster_row("bumpepoch", 2, "3.0.0", CHANGES).with_tips(VARIES),
    cluster_row("count-failure-reports", 3, "3.0.0", ADMIN)
        .with_tips(VARIES)
        .with_syntax("node-id"),
    cluster_row("countkeysinslot", 3, "3.0.0", ASKS).with_syntax("slot:integer"),
    cluster_row("delslots", -3, "3.0.0", CHANGES).with_syntax("slot:integer..."),
    cluster_row("delslotsrange", -4, "7.0.0", CHANGES)
        .with_syntax("range<start-slot:integer end-slot:integer>..."),
    cluster_row("failover", -2, "3.0.0", CHANGES).with_syntax("options[FORCE | TAKEOVER]"),
    cluster_row("flushslots", 2, "3.0.0", CHANGES),
    cluster_row("forget", 3, "3.0.0", CHANGES).with_syntax("node-id"),
    cluster_row("getkeysinslot", 4, "3.0.0", ASKS)
        .with_tips(VARIES)
        .with_syntax("slot:integer count:integer"),
    cluster_row("info", 2, "3.0.0", ASKS).with_tips(VARIES),
    cluster_row("keyslot", 3, "3.0.0", ASKS).with_syntax("key:string"),
    cluster_row("links", 2, "7.0.0", ASKS).with_tips(VARIES),
    cluster_row("meet", -4, "3.0.0", CHANGES)
        .with_syntax("ip port:integer [cluster-bus-port:integer]@4.0.0"),
    cluster_row("myid", 2, "3.0.0", ASKS),
    cluster_row("myshardid", 2, "7.2.0", ASKS).with_tips(VARIES),
    cluster_row("nodes", 2, "3.0.0", ASKS).with_tips(VARIES),
    cluster_row("replicas", 3, "5.0.0", ADMIN)
        .with_tips(VARIES)
        .with_syntax("node-id"),
    cluster_row("replicate", 3, "3.0.0", CHANGES).with_syntax("node-id"),
    cluster_row("reset", -2, "3.0.0", ADMIN.and(Flags::NOSCRIPT))
        .with_syntax("reset-type[HARD | SOFT]"),
    cluster_row("saveconfig", 2, "3.0.0", CHANGES),
    cluster_row("set-config-epoch", 3, "3.0.0", CHANGES).with_syntax("config-epoch:integer"),
    cluster_row("setslot", -4, "3.0.0", CHANGES).with_syntax(
        "slot:integer \
         subcommand<IMPORTING importing{node-id} | MIGRATING migrating{node-id} \
         | NODE node{node-id} | STABLE>",
    ),
    cluster_row("shards", 2, "7.0.0", ALWAYS).with_tips(VARIES),
    cluster_row("slaves", 3, "3.0.0", ADMIN)
        .with_tips(VARIES)
        .with_syntax("node-id")
        .with_deprecated("5.0.0", "`CLUSTER REPLICAS`"),
    cluster_row("slots", 2, "3.0.0", ALWAYS)
        .with_tips(VARIES)
        .with_deprecated("7.0.0", "`CLUSTER SHARDS`")
        .with_history(&[
            ("4.0.0", "Shows IDs of nodes."),
            ("7.0.0", "Shows other addresses of nodes."),
        ]),
    cluster_row("help", 2, "5.0.0", ALWAYS),
];

const MODULE: &[CommandSpec] = &[
    row(
        "list",
        2,
        Flags::ADMIN.and(Flags::NOSCRIPT),
        "Answers that there are no modules.",
        module_list,
    )
    .with_since("4.0.0")
    .with_tips(&["nondeterministic_output_order"]),
    row(
        "load",
        -3,
        LOADS,
        "Answers that modules cannot be loaded.",
        no_modules,
    )
    .with_since("4.0.0")
    .with_syntax("path [arg...]"),
    row(
        "loadex",
        -3,
        LOADS,
        "Answers that modules cannot be loaded.",
        no_modules,
    )
    .with_since("7.0.0")
    .with_syntax("path configs[CONFIG name value]... [ARGS args...]"),
    row(
        "unload",
        3,
        LOADS,
        "Answers that modules cannot be unloaded.",
        no_modules,
    )
    .with_since("4.0.0")
    .with_syntax("name"),
    row(
        "help",
        2,
        ALWAYS,
        "Lists the subcommands and what each is for.",
        module_help,
    )
    .with_since("5.0.0"),
];

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    row(
        "role",
        1,
        ALWAYS.and(Flags::NOSCRIPT).and(Flags::FAST),
        "Answers that this server is a master without replicas.",
        role,
    )
    .with_since("2.8.12")
    .with_categories(Categories::ADMIN.and(Categories::DANGEROUS)),
    row(
        "replicaof",
        3,
        CHANGES.and(Flags::NOSCRIPT),
        "Accepts that this server is a master.",
        replica_of,
    )
    .with_since("5.0.0")
    .with_syntax("args<host-port<host port:integer> | no-one<<NO> ONE>>"),
    row(
        "slaveof",
        3,
        CHANGES.and(Flags::NOSCRIPT),
        "Accepts that this server is a master.",
        replica_of,
    )
    .with_syntax("args<host-port<host port:integer> | no-one<<NO> ONE>>")
    .with_deprecated("5.0.0", "`REPLICAOF`"),
    row(
        "replconf",
        -1,
        ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::ALLOW_BUSY),
        "Accepts what a replica says of itself.",
        replication_settings,
    )
    .with_since("3.0.0")
    .with_flags(Flags::SYSTEM),
    row(
        "psync",
        -3,
        LOADS.and(Flags::NO_MULTI),
        "Answers that there is no replication.",
        synchronize,
    )
    .with_since("2.8.0")
    .with_syntax("replicationid offset:integer"),
    row(
        "sync",
        1,
        LOADS.and(Flags::NO_MULTI),
        "Answers that there is no replication.",
        synchronize,
    ),
    row(
        "failover",
        -1,
        ADMIN.and(Flags::NOSCRIPT),
        "Answers that there are no replicas.",
        failover,
    )
    .with_since("6.2.0")
    .with_syntax("target[TO host port:integer [FORCE]] [ABORT] [TIMEOUT milliseconds:integer]"),
    CommandSpec {
        subcommands: CLUSTER,
        function: cluster_container,
        ..cluster_row("cluster", -2, "3.0.0", Flags::NONE)
    },
    cluster_row("readonly", 1, "3.0.0", ALWAYS.and(Flags::FAST))
        .with_categories(Categories::CONNECTION),
    cluster_row("readwrite", 1, "3.0.0", ALWAYS.and(Flags::FAST))
        .with_categories(Categories::CONNECTION),
    cluster_row("asking", 1, "3.0.0", Flags::FAST).with_categories(Categories::CONNECTION),
    CommandSpec {
        subcommands: MODULE,
        ..row(
            "module",
            -2,
            Flags::NONE,
            "Answers for modules, of which there are none.",
            module_container,
        )
        .with_since("4.0.0")
    },
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    #[test]
    fn answers_of_a_master_that_is_alone() {
        const NO_CLUSTER: &str = "-ERR This instance has cluster support disabled";
        TestServer::new().check_all(&[
            ("ROLE", r#"["master" :0 []]"#),
            ("REPLICAOF no one", "+OK"),
            ("SLAVEOF NO ONE", "+OK"),
            ("REPLICAOF host x", "-ERR Invalid master port"),
            (
                "REPLICAOF host 1",
                "-ERR Larder does not replicate, so it cannot be a replica",
            ),
            ("REPLCONF listening-port 1 capa eof", "+OK"),
            ("REPLCONF listening-port", "-ERR syntax error"),
            (
                "REPLCONF nothing 1",
                "-ERR Unrecognized REPLCONF option: nothing",
            ),
            (
                "PSYNC ? -1",
                "-ERR Larder does not replicate, so it cannot feed a replica",
            ),
            (
                "PSYNC x 1 FAILOVER",
                "-ERR PSYNC FAILOVER can't be sent to a master.",
            ),
            ("FAILOVER", "-ERR FAILOVER requires connected replicas."),
            ("FAILOVER ABORT", "-ERR No failover in progress."),
            (
                "FAILOVER TIMEOUT 0",
                "-ERR FAILOVER timeout must be greater than 0",
            ),
            ("FAILOVER TO host", "-ERR syntax error"),
            ("CLUSTER INFO", NO_CLUSTER),
            ("CLUSTER SLOTS", NO_CLUSTER),
            (
                "CLUSTER",
                "-ERR wrong number of arguments for 'cluster' command",
            ),
            ("READONLY", NO_CLUSTER),
            ("READWRITE", NO_CLUSTER),
            ("ASKING", NO_CLUSTER),
            ("MODULE LIST", "[]"),
        ]);
    }
}
