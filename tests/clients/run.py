#!/usr/bin/env python3
"""Runs the scenarios of real client libraries against a real server, with plenty of memory and with far too little.

One program for each language runs all its scenarios and prints a line before and after each; this driver installs the
libraries, sets the stage (stage.py), watches the time and reports. See README.md. Exit status 0: all scenarios passed.

    make clients ARGS='--languages go,python --memory tiny'
    tests/clients/run.py --binary /usr/bin/redis-server     # are the scenarios themselves right?
"""

import argparse
import concurrent.futures
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from languages import LANGUAGES, Broken, Missing  # noqa: E402
from stage import Stage  # noqa: E402
from support.server import ServerFailed  # noqa: E402

SCENARIO_SECONDS = 90
PRINTING = threading.Lock()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/debug/larder", help="the server (%(default)s)")
    parser.add_argument("--languages", default=",".join(LANGUAGES), help="which languages (%(default)s)")
    parser.add_argument("--memory", default="plenty,tiny", help="with how much memory (%(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only scenarios whose names hold this")
    parser.add_argument("--jobs", type=int, default=2, help="programs at a time (%(default)s)")
    parser.add_argument("--install", action="store_true", help="install and build, run nothing")
    return parser.parse_args()


def say(text):
    """Prints whole lines, whichever thread they are from."""
    with PRINTING:
        print(text, flush=True)


def lines_of(process, lines):
    """Hands on what the program prints; None at its end."""
    for line in process.stdout:
        lines.put(line.rstrip("\n"))
    lines.put(None)


def watch(process, title):
    """Reports the scenarios as they come to an end; returns how many passed and the failed ones' lines."""
    lines, passed, failed = queue.Queue(), 0, []
    threading.Thread(target=lines_of, args=(process, lines), daemon=True).start()
    running, started = None, time.monotonic()
    while True:
        try:
            line = lines.get(timeout=SCENARIO_SECONDS)
        except queue.Empty:
            line = f"FAILED {running}: no end within {SCENARIO_SECONDS} s"
            os.killpg(process.pid, signal.SIGKILL)
        if line is None:
            break
        word, _, rest = line.partition(" ")
        if word == "RUN":
            running, started = rest, time.monotonic()
        elif word == "OK":
            passed, running = passed + 1, None
            say(f"ok      {title}: {rest} ({time.monotonic() - started:.1f} s)")
        elif word == "FAILED":
            failed, running = [*failed, rest], None
            say(f"FAILED  {title}: {rest}")
    if running is not None:
        failed.append(f"{running}: the program ended")
        say(f"FAILED  {title}: {failed[-1]}")
    return passed, failed


def run_program(arguments, language, memory, command, environment):
    """All scenarios of a language with so much memory; returns how many passed and failed."""
    title = f"{language}/{memory}"
    with tempfile.TemporaryFile("w+") as errors, Stage(arguments.binary, memory) as stage:
        surroundings = {**os.environ, **environment, **stage.environment, "LARDER_ONLY": arguments.only}
        process = subprocess.Popen(
            command, env=surroundings, text=True, errors="replace", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
        try:
            passed, failed = watch(process, title)
            status = process.wait(30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if status != 0 and not failed:
            failed.append(f"the program ended with status {status}")
            say(f"FAILED  {title}: {failed[-1]}")
        problems, tiers = stage.verdict()
        for problem in problems:
            failed.append(problem)
            say(f"FAILED  {title}: {problem}")
        if tiers:
            say(f"        {title}: {tiers}")
        if failed:
            errors.seek(0)
            say(f"--- {title}: what the program printed\n{errors.read()[-6000:]}\n--- {title}: the server's log\n"
                f"{stage.server.end_of_log()}\n---")  # fmt: skip
    return passed, len(failed)


def prepare(names, build):
    """Installs and builds; returns what is ready, and whether all of it is."""
    ready, complete = {}, True
    for name in names:
        started = time.monotonic()
        try:
            ready[name] = LANGUAGES[name](build)
            say(f"ready   {name} ({time.monotonic() - started:.1f} s)")
        except Missing as reason:
            say(f"SKIPPED {name}: {reason}")
            complete = complete and os.environ.get("CI") != "true"
        except Broken as reason:
            say(f"FAILED  {name}: {reason}")
            complete = False
    return ready, complete


def main():
    arguments = parse_arguments()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="larder-clients-") as build:
        ready, complete = prepare(arguments.languages.split(","), build)
        if arguments.install:
            return 0 if complete else 1
        programs = [(name, memory) for name in ready for memory in arguments.memory.split(",")]
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            runs = [pool.submit(run_program, arguments, name, memory, *ready[name]) for name, memory in programs]
            results = [run.result() for run in runs]
    passed, failed = (sum(counts) for counts in zip(*results)) if results else (0, 0)
    skipped = "" if complete else "; NOT EVERYTHING COULD RUN"
    say(f"clients: {passed} scenarios passed, {failed} failed in {time.monotonic() - started:.0f} s{skipped}")
    return 0 if complete and not failed and passed else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServerFailed as failure:
        sys.exit(f"clients: {failure}")
