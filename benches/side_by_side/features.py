"""Scripts, messages, waiting, streams and a job queue: what is more than reading and writing a key.

The same figures as in throughput.py, and the same way to come by them: server CPU per request on a pinned core, the
load on another core, alternating rounds, medians. What redis-benchmark cannot do (subscribers, connections that wait,
BullMQ) is driven by this program or by Node; their requests per second are bound by the driver, so compare the CPU.
"""

import dataclasses
import json
import os
import pathlib
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import servers
import throughput

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "clients"))
import languages  # noqa: E402  (how the tests install BullMQ)

DEPTH = 16
SUBSCRIBERS = 100
# Requests of one measurement; --quick makes it a tenth.
SCRIPT_CALLS = 300_000
MESSAGES = 20_000
HAND_OVERS = 20_000
ENTRIES = 200_000
JOBS = 5_000
SCRIPT = b"local value = redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], (value or 0) + ARGV[1]) return value"
JOB_PROGRAM = pathlib.Path(__file__).with_name("bullmq_jobs.js")


@dataclasses.dataclass(frozen=True)
class Item:
    """What is measured: `run` makes so many requests to a server and returns the seconds that they took."""

    name: str
    depth: int
    requests: int
    run: Callable[[servers.Server, int], float]


def run(options, peers: list[servers.Peer]) -> list[dict]:
    """One row for each item, in the form of throughput.run."""
    scale = 10 if options.quick else 1
    chosen = [item for item in items(options, scale) if options.match in item.name]
    rows = []
    for item in chosen:
        row = {"name": item.name, "log": "off", "depth": item.depth, "servers": {peer.name: [] for peer in peers}}
        running = [servers.Server(peer, options) for peer in peers]
        try:
            for server in running:
                server.start()
            for number in range(options.rounds):
                turn = number % len(running)
                for server in running[turn:] + running[:turn]:
                    row["servers"][server.peer.name].append(measure(server, item))
        finally:
            for server in running:
                server.remove()
        cpu = {name: min(m["cpu_us"] for m in measured) for name, measured in row["servers"].items()}
        shown = "  ".join(f"{name} {value:.2f}" for name, value in cpu.items())
        print(f"  {item.name:<28} CPU us/request: {shown}", flush=True)
        rows.append(row)
    return rows


def measure(server: servers.Server, item: Item) -> dict:
    """Requests per second, CPU in us for each request, share of the time that the server's core was busy."""
    before = server.cpu_seconds()
    seconds = item.run(server, item.requests)
    cpu = server.cpu_seconds() - before
    return {
        "requests_per_s": item.requests / seconds,
        "cpu_us": cpu / item.requests * 1e6,
        "busy": min(cpu / seconds, 1.0),
    }


def items(options, scale: int) -> Iterator[Item]:
    """All items; BullMQ only where it can be installed."""

    def benchmark(*commands: tuple[str, ...]) -> Callable[[servers.Server, int], float]:
        def send(server: servers.Server, requests: int) -> float:
            scenario = throughput.Scenario("", DEPTH, requests // len(commands), 100_000, commands)
            rows = [throughput.benchmark(server.port, scenario, command, options.client_core) for command in commands]
            return sum(scenario.requests / float(row["rps"]) for row in rows)

        return send

    def call_script(server: servers.Server, requests: int) -> float:
        digest = server.ask(b"SCRIPT", b"LOAD", SCRIPT).split()[1].decode()
        return benchmark(("EVALSHA", digest, "1", "counter:__rand_int__", "1"))(server, requests)

    def read_group(server: servers.Server, requests: int) -> float:
        server.ask(b"XGROUP", b"CREATE", b"events", b"group", b"$", b"MKSTREAM")
        add = ("XADD", "events", "MAXLEN", "~", "1000000", "*", "field", "x" * 100)
        read = ("XREADGROUP", "GROUP", "group", "one", "COUNT", "1", "NOACK", "STREAMS", "events", ">")
        return benchmark(add, read)(server, requests)

    add = ("XADD", "log", "MAXLEN", "~", "10000", "*", "field", "x" * 100)
    yield Item("EVALSHA of GET and SET", DEPTH, SCRIPT_CALLS // scale, call_script)
    yield Item(f"PUBLISH to {SUBSCRIBERS} subscribers", DEPTH, MESSAGES // scale, publish_to_many(options.client_core))
    yield Item("BLPOP hand-over", 1, HAND_OVERS // scale, hand_over)
    yield Item("XADD with MAXLEN", DEPTH, ENTRIES // scale, benchmark(add))
    yield Item("XADD + XREADGROUP", DEPTH, ENTRIES // scale, read_group)
    try:
        command, environment = languages.node(None)
    except (languages.Missing, languages.Broken) as reason:
        print(f"  BullMQ is left out: {reason}", flush=True)
        return
    program = ["taskset", "--cpu-list", str(options.client_core), command[0], str(JOB_PROGRAM)]
    yield Item("BullMQ jobs", 1, JOBS // scale, lambda server, jobs: run_jobs(program, environment, server, jobs))


def publish_to_many(client_core: int) -> Callable[[servers.Server, int], float]:
    """Subscribers that count what they get, in one thread; done when the last one has the last message."""

    def publish(server: servers.Server, messages: int) -> float:
        text = b"x" * 100
        message = servers.encode(b"message", b"news", text)
        connections = []
        for _ in range(SUBSCRIBERS):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
            connection.sendall(servers.encode(b"SUBSCRIBE", b"news"))
            connection.recv(1024)
            connections.append(connection)
        reader = threading.Thread(target=drain, args=(connections, len(message) * messages), daemon=True)
        started = time.monotonic()
        reader.start()
        scenario = throughput.Scenario("", DEPTH, messages, 1, ())
        throughput.benchmark(server.port, scenario, ("PUBLISH", "news", text.decode()), client_core)
        reader.join(120)
        elapsed = time.monotonic() - started
        for connection in connections:
            connection.close()
        if reader.is_alive():
            raise RuntimeError(f"{server.peer.name} did not deliver all messages")
        return elapsed

    return publish


def drain(connections: list[socket.socket], length: int) -> None:
    """Reads so many bytes from each connection, whichever has some."""
    with selectors.DefaultSelector() as selector:
        missing = {connection: length for connection in connections}
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        while missing:
            for key, _ in selector.select():
                piece = key.fileobj.recv(1 << 20)
                if not piece:
                    raise ConnectionError("the server closed a subscriber's connection")
                missing[key.fileobj] -= len(piece)
                if missing[key.fileobj] <= 0:
                    selector.unregister(key.fileobj)
                    del missing[key.fileobj]


def hand_over(server: servers.Server, times: int) -> float:
    """One connection waits, the other gives; one hand-over is a BLPOP, an LPUSH and the reply to both.

    The server is not asked whether the first waits already: that would cost more than the hand-over. Should a push
    overtake the BLPOP, this one costs a little less.
    """
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as waiting,
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as giving,
    ):
        wait, give = servers.encode(b"BLPOP", b"inbox", b"0"), servers.encode(b"LPUSH", b"inbox", b"letter")
        expected = servers.encode(b"inbox", b"letter")
        started = time.monotonic()
        for _ in range(times):
            waiting.sendall(wait)
            giving.sendall(give)
            if servers.receive_at_least(giving, 4) != b":1\r\n":
                raise RuntimeError(f"{server.peer.name}: LPUSH was not answered by 1")
            if servers.receive_at_least(waiting, len(expected)) != expected:
                raise RuntimeError(f"{server.peer.name}: BLPOP did not get what was pushed")
        return time.monotonic() - started


def run_jobs(program: list[str], environment: dict[str, str], server: servers.Server, jobs: int) -> float:
    """Jobs added and done by one BullMQ worker; its program prints the seconds."""
    surroundings = os.environ | environment
    arguments = [*program, str(server.port), str(jobs)]
    result = subprocess.run(arguments, env=surroundings, capture_output=True, text=True, timeout=300, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"BullMQ on {server.peer.name}:\n{result.stdout}\n{result.stderr}")
    return json.loads(result.stdout)["seconds"]
