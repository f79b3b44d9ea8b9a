#!/usr/bin/env python3
"""Runs the Tcl suite of a Redis or Valkey checkout against Larder, unit by unit.

The suite is not part of this repository: give the path of a checkout. It runs in its "external server" mode against a
Larder that this program starts in a temporary directory; tests that need to start servers of their own are skipped by
the suite. A server that dies is reported loudly and started again. Exit status 0: everything passed; 1: something failed.

    make tcl SUITE=../redis ARGS='--profile core unit/type/list'
"""

import argparse
import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import results  # noqa: E402
from checkout import Checkout, CheckoutFailed  # noqa: E402
from chill import Chiller  # noqa: E402
from left_out import left_out  # noqa: E402
from support.server import Server, ServerFailed, free_port  # noqa: E402

# What a profile leaves out, by the tags of the tests.
CORE_TAGS = (
    "needs:debug needs:repl needs:save needs:pfdebug needs:config-maxmemory needs:config-resetstat needs:reset"
    " needs:latency needs:local-process needs:other-server"
).split()
PROFILES = {
    "core": (CORE_TAGS, ["--ignore-digest", "--ignore-encoding"]),
    "nodebug": (["needs:debug", "needs:repl", "needs:save", "needs:pfdebug"], []),
    "full": ([], []),
}
# They test the command-line tools of the checkout, not a server.
TOOL_UNITS = {f"integration/{name}-{tool}" for name in ("redis", "valkey") for tool in ("cli", "benchmark")}
# Ports tried when the suite's own port turns out to be taken.
ATTEMPTS = 3


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", help="a checkout of Redis or Valkey")
    parser.add_argument("units", nargs="*", help="units to run (default: all)")
    parser.add_argument("--binary", default="target/release/larder", help="the server, Larder or redis-server (%(default)s)")
    parser.add_argument("--profile", choices=PROFILES, default="core", help="which tests are left out (%(default)s)")
    parser.add_argument("--deny", action="append", default=[], metavar="TAG", help="leave out tests with this tag too")
    parser.add_argument("--only", action="append", default=[], metavar="TEST", help="run this test only (/ for a pattern)")
    parser.add_argument("--slow", action="store_true", help="run the tests tagged slow as well")
    parser.add_argument("--encoding", action="store_true", help="check encodings in the profile core as well")
    parser.add_argument("--directive", action="append", default=[], metavar="'NAME VALUE'", help="a setting of the server")
    parser.add_argument("--chill", action="store_true", help="move all keys to disk every few milliseconds")
    parser.add_argument("--tiny-memory", nargs="?", const="6mb", metavar="SIZE", help="a maxmemory of SIZE (6mb)")
    parser.add_argument("--single-database", action="store_true", help="never SELECT")
    parser.add_argument("--without-functions", action="store_true", help="for a server that lacks FUNCTION FLUSH")
    parser.add_argument("--fresh", action="store_true", help="a new server for each unit")
    parser.add_argument("--servers", type=int, default=2, help="servers, and units, at a time (%(default)s)")
    parser.add_argument("--unit-seconds", type=int, default=180, help="longest time for a unit (%(default)s)")
    parser.add_argument("--output", default="target/tcl", help="directory of the logs and tables (%(default)s)")
    return parser.parse_args()


def is_redis(arguments):
    """Whether the server is the reference and not Larder."""
    return "redis" in os.path.basename(arguments.binary)


def directives_of(arguments, checkout):
    """The settings that the server is started with; later ones win."""
    directives = {"save": [""], "appendonly": ["no"]}
    if arguments.profile == "full":
        # Tests of the log turn it on and off, which needs one from the start.
        directives["appendonly"] = ["yes"]
        if checkout.version().startswith("7.0.") and not is_redis(arguments):
            directives["legacy-encoding-names"] = ["yes"]
    if arguments.tiny_memory:
        directives["maxmemory"] = [arguments.tiny_memory]
    for text in arguments.directive:
        name, *values = text.split()
        directives[name] = [value.strip("'\"") for value in values]
    return [[name, *values] for name, values in directives.items()]


def left_out_of(arguments, checkout):
    """The tests that are not run, and why. Another server than Larder runs all."""
    if is_redis(arguments):
        return {}
    maxdisk = [values for name, *values in directives_of(arguments, checkout) if name == "maxdisk"]
    denied = PROFILES[arguments.profile][0] + arguments.deny
    return left_out(checkout.version(), denied, has_cold_tier=maxdisk != [["0"]])


def flags_of(arguments, left_out_tests):
    """The flags of the suite that are the same for all units."""
    denied, flags = PROFILES[arguments.profile]
    if arguments.encoding:
        flags = [flag for flag in flags if flag != "--ignore-encoding"]
    denied = denied + arguments.deny + ([] if arguments.slow else ["slow"])
    flags = flags + ["--durable", "--no-latency", "--dont-clean", "--host", "127.0.0.1"]
    # The suite takes an empty list of tags for none at all.
    flags += ["--tags", " ".join("-" + tag for tag in denied) or "-none:none"]
    for test in arguments.only:
        flags += ["--only", test]
    for test in left_out_tests:
        flags += ["--skiptest", test]
    return flags + (["--singledb"] if arguments.single_database else [])


class Worker(threading.Thread):
    """One server and one copy of the checkout; runs units until none is left."""

    def __init__(self, arguments, units, done, report):
        super().__init__(daemon=True)
        self.arguments, self.units, self.done, self.report = arguments, units, done, report
        self.checkout = Checkout(arguments.suite, arguments.without_functions)
        self.left_out = left_out_of(arguments, self.checkout)
        self.server = None
        self.failure = None

    def run(self):
        try:
            while True:
                self.run_unit(self.units.get_nowait())
        except queue.Empty:
            pass
        except Exception as failure:  # the other workers go on; the main thread raises it
            self.failure = failure
        finally:
            self.stop_server()
            self.checkout.remove()

    def stop_server(self):
        if self.server is not None:
            self.server.remove()
            self.server = None

    def run_unit(self, name):
        if self.server is None:
            self.server = Server(self.arguments.binary, directives_of(self.arguments, self.checkout)).start()
        log_length, demotions = len(self.server.log()), self.server.figure("demotions")
        started = time.monotonic()
        with Chiller(self.server.port) if self.arguments.chill else contextlib.nullcontext():
            output, timed_out = self.run_suite(name)
        unit = results.Unit(name, seconds=round(time.monotonic() - started))
        unit.tests, ended = results.parse(output, self.left_out)
        unit.demotions = max(self.server.figure("demotions") - demotions, 0)
        if timed_out:
            unit.status = "TIMEOUT"
        elif not ended:
            unit.status = "ABORTED"
        said = self.server.log()[log_length:]
        alarm = self.state_of_server(unit, said)
        self.write_logs(name, output, said)
        self.done.append(unit)
        self.report(results.unit_line(unit) + alarm)
        # An unfinished unit leaves its settings behind.
        if unit.status != "done" or self.arguments.fresh:
            self.stop_server()

    def state_of_server(self, unit, said):
        """Adds to the unit's status what happened to the server; returns the lines that tell it."""
        if self.server.has_ended():
            unit.status += ",SERVER DIED"
            what = f"THE SERVER DIED in {unit.name} (exit code {self.server.process.returncode})"
            return f"\n!!!! {what}, its last words:\n{self.server.end_of_log()}\n!!!!"
        if not self.server.answers(10):
            unit.status += ",SERVER HUNG"
            return f"\n!!!! THE SERVER DOES NOT ANSWER after {unit.name}; it is killed:\n{self.server.end_of_log()}\n!!!!"
        panics = [line for line in said.splitlines() if "panicked at" in line]
        if panics:
            unit.status += ",PANIC"
            return f"\n!!!! A THREAD OF THE SERVER PANICKED in {unit.name}: {panics[0]}"
        return ""

    def run_suite(self, unit):
        """The output of the unit, and whether its time was up."""
        for _ in range(ATTEMPTS):
            base = free_port(22000, 6000) + 32
            flags = [*flags_of(self.arguments, self.left_out), "--port", str(self.server.port), "--single", unit]
            flags += ["--baseport", str(base), "--portcount", "30", "--timeout", str(self.arguments.unit_seconds)]
            output, timed_out = run_with_limit(["./runtest", *flags], self.checkout.path, self.arguments.unit_seconds + 10)
            if "address already in use" not in output and "Can't find a non busy port" not in output:
                break
        return output, timed_out or "\n[TIMEOUT]" in output

    def write_logs(self, name, output, said):
        base = os.path.join(self.arguments.output, name.replace("/", "_"))
        for suffix, text in ((".log", output), (".server.log", said)):
            with open(base + suffix, "w") as file:
                file.write(text)


def run_with_limit(command, directory, seconds):
    """The output of a command that is killed with all its children when its time is up, and whether it was."""
    environment = {**os.environ, "TERM": "dumb"}
    process = subprocess.Popen(
        command, cwd=directory, env=environment, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    timed_out = False
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        timed_out = True
        end_group(process.pid)
        output, _ = process.communicate()
    end_group(process.pid)
    return output.decode(errors="replace"), timed_out


def end_group(group):
    """Kills what is left of a group of processes that this program started."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def units_to_run(arguments):
    checkout = Checkout(arguments.suite)
    try:
        known = checkout.units()
    finally:
        checkout.remove()
    unknown = set(arguments.units) - set(known)
    if unknown:
        raise CheckoutFailed(f"no such unit: {' '.join(sorted(unknown))}; there are: {' '.join(known)}")
    return arguments.units or [unit for unit in known if unit not in TOOL_UNITS]


def main():
    arguments = parse_arguments()
    arguments.output = os.path.abspath(arguments.output)
    os.makedirs(arguments.output, exist_ok=True)
    names = units_to_run(arguments)
    started = time.monotonic()
    units, done, printing = queue.Queue(), [], threading.Lock()
    for name in names:
        units.put(name)

    def report(text):
        with printing:
            print(text, flush=True)

    workers = [Worker(arguments, units, done, report) for _ in range(min(arguments.servers, len(names)))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    done.sort(key=lambda unit: names.index(unit.name))
    results.print_summary(done, time.monotonic() - started)
    results.write_tables(done, arguments.output)
    print(f"Tables and logs: {arguments.output}")
    failures = [worker.failure for worker in workers if worker.failure]
    for failure in failures:
        print(f"tcl: {failure}", file=sys.stderr)
    return 0 if not failures and len(done) == len(names) and all(unit.is_good() for unit in done) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (CheckoutFailed, ServerFailed) as failure:
        sys.exit(f"tcl: {failure}")
