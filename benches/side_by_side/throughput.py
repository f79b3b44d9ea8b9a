"""Requests per second, p99 and server CPU per request, by redis-benchmark: 50 connections, random keys.

CPU per request is the figure to compare: the load generator has one core as well and is often the first to be busy
(`busy`: the share of the time that the server's core was used), so requests per second then show its limit. The log is
not cut while it is measured: the peers would fork for that, at moments of their own choosing.
"""

import csv
import dataclasses
import subprocess
import time
from collections.abc import Iterator

import environment
import servers

CONNECTIONS = 50
DEPTHS = (1, 16, 64)
# Requests of one measurement: each takes a second or a few.
REQUESTS = {1: 150_000, 16: 600_000, 64: 1_200_000}
KEYS = 1_000_000
COLLECTION_KEYS = 100_000
# More than the log of one measurement.
LOG_MB = 1500


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Commands that are measured together; `name` identifies the scenario in reports and goals."""

    name: str
    depth: int
    requests: int
    keys: int
    # One redis-benchmark run each: the arguments after its options.
    commands: tuple[tuple[str, ...], ...]


def run(options, peers: list[servers.Peer]) -> list[dict]:
    """One row for each scenario: name, log, depth, and for each server the list of its measurements."""
    scale = 10 if options.quick else 1
    rows = []
    for log in ("off", "everysec"):
        for size in (100, 1000):
            scenarios = list(string_scenarios(size, scale))
            rows += run_group(options, peers, log, scenarios, string_load(KEYS // scale, size))
    keys = COLLECTION_KEYS // scale
    rows += run_group(options, peers, "off", list(collection_scenarios(scale)), collection_load(keys))
    return rows


def string_scenarios(size: int, scale: int) -> Iterator[Scenario]:
    """GET and SET of one value size at each depth."""
    for depth in DEPTHS:
        requests = REQUESTS[depth] // scale // (1 if size < 1000 else 2)
        for command in ("get", "set"):
            name = f"{command.upper()} {'100 B' if size == 100 else '1 kB'}"
            yield Scenario(name, depth, requests, KEYS // scale, (("-t", command, "-d", str(size)),))


def collection_scenarios(scale: int) -> Iterator[Scenario]:
    """The other families at depth 16."""
    keys, requests, depth = COLLECTION_KEYS // scale, REQUESTS[16] // scale, 16
    item = "x" * 100
    yield Scenario("ZADD", depth, requests, keys, (("ZADD", "board", "__rand_int__", "member:__rand_int__"),))
    yield Scenario("ZREVRANGE top 100", depth, requests // 20, keys, (("ZREVRANGE", "board", "0", "99", "WITHSCORES"),))
    yield Scenario("LPUSH + RPOP", depth, requests // 2, keys, (("LPUSH", "queue", item), ("RPOP", "queue")))
    yield Scenario("HSET", depth, requests, keys, (("HSET", "session:__rand_int__", "last_seen", "__rand_int__"),))
    yield Scenario("INCR", depth, requests, keys, (("INCR", "counter:__rand_int__"),))


def string_load(keys: int, size: int):
    """Every key that redis-benchmark can name, so that each GET is a hit."""
    value = b"x" * size
    return lambda: (servers.encode(b"SET", b"key:%012d" % number, value) for number in range(keys))


def collection_load(keys: int):
    """A sorted set, hashes with five fields and counters for the names that redis-benchmark makes."""

    def commands():
        for number in range(keys):
            name = b"%012d" % number
            yield servers.encode(b"ZADD", b"board", b"%d" % (number * 7919 % keys), b"member:" + name)
            fields = (b"user", name, b"role", b"editor", b"locale", b"en", b"created", b"1700000000", b"last_seen", name)
            yield servers.encode(b"HSET", b"session:" + name, *fields)
            yield servers.encode(b"SET", b"counter:" + name, b"0")

    return commands


def run_group(options, peers: list[servers.Peer], log: str, scenarios: list[Scenario], load) -> list[dict]:
    """Loads every server once, then measures the scenarios in alternating rounds on the same processes."""
    scenarios = [scenario for scenario in scenarios if options.match in scenario.name]
    if not scenarios:
        return []
    rows = [
        {"name": s.name, "log": log, "depth": s.depth, "servers": {peer.name: [] for peer in peers}} for s in scenarios
    ]
    running = [servers.Server(peer, options, log) for peer in peers]
    try:
        for server in running:
            server.start()
            server.load(load())
        for scenario, row in zip(scenarios, rows):
            for number in range(options.rounds):
                # Another one goes first in every round.
                turn = number % len(running)
                for server in running[turn:] + running[:turn]:
                    if log != "off":
                        environment.touch_free_memory(LOG_MB)
                    row["servers"][server.peer.name].append(measure(server, scenario, options.client_core))
            cpu = {name: min(m["cpu_us"] for m in measured) for name, measured in row["servers"].items()}
            shown = "  ".join(f"{name} {value:.2f}" for name, value in cpu.items())
            print(f"  {scenario.name:<18} depth {scenario.depth:>2} log {log:<8} CPU us/request: {shown}", flush=True)
    finally:
        for server in running:
            server.remove()
    return rows


def measure(server: servers.Server, scenario: Scenario, client_core: int) -> dict:
    """Runs the scenario's commands once: requests per second, p99 in ms, CPU in us for each request, busy share."""
    before = server.cpu_seconds()
    requests, seconds, p99_ms, elapsed = 0, 0.0, 0.0, time.monotonic()
    for command in scenario.commands:
        row = benchmark(server.port, scenario, command, client_core)
        requests += scenario.requests
        seconds += scenario.requests / float(row["rps"])
        p99_ms = max(p99_ms, float(row["p99_latency_ms"]))
    elapsed = time.monotonic() - elapsed
    cpu = server.cpu_seconds() - before
    return {
        "requests_per_s": requests / seconds,
        "p99_ms": p99_ms,
        "cpu_us": cpu / requests * 1e6,
        "busy": min(cpu / min(seconds, elapsed), 1.0),
    }


def benchmark(port: int, scenario: Scenario, command: tuple[str, ...], client_core: int) -> dict:
    """One run of redis-benchmark; its CSV row by column name."""
    arguments = ["taskset", "--cpu-list", str(client_core), "redis-benchmark", "-h", "127.0.0.1", "-p", str(port)]
    arguments += ["-c", str(CONNECTIONS), "-P", str(scenario.depth), "-n", str(scenario.requests)]
    arguments += ["-r", str(scenario.keys), "--csv", *command]
    result = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    lines = [line for line in result.stdout.splitlines() if line.startswith('"')]
    if result.returncode != 0 or len(lines) < 2 or "Error from server" in result.stdout + result.stderr:
        raise RuntimeError(f"redis-benchmark failed: {' '.join(command)}\n{result.stdout}\n{result.stderr}")
    return list(csv.DictReader(lines))[-1]
