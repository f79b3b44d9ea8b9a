"""Time from starting the process to the right answer to the first GET, with 1 GB of data (1,000,000 JSON documents).

Each server is loaded once in each mode and then restarted in alternating rounds. The files are in the page cache. The rules
by which the servers cut their logs are at their defaults, except in the last mode, where all data is in the log. A starting server
may use both cores: nobody puts a load on it yet.
"""

import time

import sample_data
import servers

KEYS = 1_000_000
# (name in reports and goals, log, how the server is stopped, whether the log is cut)
MODES = (
    ("snapshot, SHUTDOWN SAVE", "off", "save", True),
    ("log, SHUTDOWN", "everysec", "clean", True),
    ("log, kill -9", "everysec", "kill", True),
    ("log of all data, kill -9", "everysec", "kill", False),
)
# Longer than the log's sync interval of one second.
SETTLE_S = 2.5


def run(options, peers: list[servers.Peer]) -> list[dict]:
    """One row for each mode, with the measurements of each server."""
    keys = KEYS // 10 if options.quick else KEYS
    rows = []
    cores = f"{options.server_core},{options.client_core}"
    for name, log, how, cut_log in MODES:
        row = {"name": name, "keys": keys, "servers": {peer.name: [] for peer in peers}}
        loaded = [servers.Server(peer, options, log, cut_log, cores) for peer in peers]
        try:
            for server in loaded:
                server.start()
                server.load(sample_data.documents(keys))
                time.sleep(SETTLE_S)
                server.wait_for_background_work()
                server.stop(how)
            for _ in range(options.rounds):
                for server in loaded:
                    row["servers"][server.peer.name].append(measure(server, keys, how))
        finally:
            for server in loaded:
                server.remove()
        rows.append(row)
        shown = "  ".join(f"{peer} {min(m['first_get_ms'] for m in ms):.0f}" for peer, ms in row["servers"].items())
        print(f"  {name}: ms to the first GET: {shown}", flush=True)
    return rows


def measure(server: servers.Server, keys: int, how: str) -> dict:
    """Starts the server on its data, asks for one document in the middle, and stops it as before."""
    number = keys // 2
    value = sample_data.document(number, sample_data.document_endings())
    begin = time.monotonic()
    server.start(wait=False)
    answered = server.wait_for_reply(
        servers.encode(b"GET", b"key:%012d" % number), b"$%d\r\n%s\r\n" % (len(value), value)
    )
    if server.ask(b"DBSIZE") != b":%d\r\n" % keys:
        raise RuntimeError(f"{server.peer.name} lost keys in a restart ({how})")
    server.stop(how)
    return {"first_get_ms": (answered - begin) * 1000}
