"""Resident memory for each key: VmRSS after loading, less VmRSS of the same server when empty."""

import time

import sample_data
import servers

KEYS = 1_000_000
# (name in reports and goals, what is loaded)
LOADS = (("16 B key + 10 B value", sample_data.small), ("16 B key + 1 kB JSON", sample_data.documents))
SETTLE_S = 1.0


def run(options, peers: list[servers.Peer]) -> list[dict]:
    """One row for each kind of record, with the measurements of each server."""
    keys = KEYS // 10 if options.quick else KEYS
    rows = []
    for name, load in LOADS:
        row = {"name": name, "keys": keys, "servers": {peer.name: [] for peer in peers}}
        for _ in range(options.rounds):
            for peer in peers:
                row["servers"][peer.name].append(measure(options, peer, load, keys))
        rows.append(row)
        shown = "  ".join(f"{peer} {min(m['bytes_per_key'] for m in ms):.0f}" for peer, ms in row["servers"].items())
        print(f"  {name}: bytes per key: {shown}", flush=True)
    return rows


def measure(options, peer: servers.Peer, load, keys: int) -> dict:
    """Starts an empty server, loads it, and compares."""
    server = servers.Server(peer, options)
    try:
        server.start()
        time.sleep(SETTLE_S)
        empty = server.resident_bytes()
        server.load(load(keys))
        time.sleep(SETTLE_S)
        full = server.resident_bytes()
        if server.ask(b"DBSIZE") != b":%d\r\n" % keys:
            raise RuntimeError(f"{peer.name} does not hold the {keys} keys it was given")
        return {"empty_bytes": empty, "full_bytes": full, "bytes_per_key": (full - empty) / keys}
    finally:
        server.remove()
