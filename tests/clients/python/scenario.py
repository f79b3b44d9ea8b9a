"""What all the Python scenarios use: connections, the stage, and the run with one line for each scenario."""

import os
import socket
import sys
import time
import traceback

import redis

PORT = int(os.environ["LARDER_PORT"])
PASSWORD = os.environ["LARDER_PASSWORD"]
# No reply may take longer: a scenario fails rather than hangs.
REPLY_SECONDS = 20


def direct(order):
    """Tells the stage to `chill` the keys, `clean` up or `restart` the server."""
    with socket.create_connection(("127.0.0.1", int(os.environ["LARDER_CONTROL_PORT"])), timeout=60) as control:
        control.sendall(order.encode() + b"\n")
        answer = control.makefile().readline().strip()
    assert answer == "ok", answer


def connect(database=0, **options):
    """A client; text replies unless told otherwise."""
    options.setdefault("decode_responses", True)
    return redis.Redis(
        host="127.0.0.1", port=PORT, password=PASSWORD, db=database, socket_timeout=REPLY_SECONDS, **options
    )


def wait_until(what, condition):
    """Waits for something that happens in another thread or in the server."""
    end = time.monotonic() + REPLY_SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.01)


def run_all(scenarios):
    """Runs functions and prints RUN, then OK or FAILED for each, for the driver."""
    failed, wanted = 0, os.environ.get("LARDER_ONLY", "")
    for name, function in scenarios:
        if wanted not in name:
            continue
        print("RUN", name, flush=True)
        try:
            direct("clean")
            function()
            print("OK", name, flush=True)
        except Exception as problem:
            failed += 1
            traceback.print_exc(file=sys.stderr)
            lines = traceback.extract_tb(problem.__traceback__)
            ours = [line for line in lines if os.path.dirname(__file__) in line.filename]
            place = f"{os.path.basename(ours[-1].filename)}:{ours[-1].lineno}"
            print("FAILED", f"{name}: {place}: {type(problem).__name__}: {problem}".replace("\n", " "), flush=True)
    sys.exit(1 if failed else 0)
