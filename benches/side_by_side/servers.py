"""One server process: its command line, its life from start to stop, what it costs (CPU, memory), a plain client.

Larder, redis-server and Valkey take the same directives, so one class serves all three.
"""

import glob
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable

START_TIMEOUT_S = 120
# Loading is done in writes of this many commands; their replies are read before the next write.
COMMANDS_PER_WRITE = 10_000
NULL_REPLY = b"$-1\r\n"


class Peer:
    """A program that can be started as a server."""

    def __init__(self, name: str, binary: str):
        self.name = name
        self.binary = binary

        # Distributions build Valkey with jemalloc; the packaged binary has libc's malloc, which costs it memory and time.
        # So it gets the jemalloc that redis-tools depends on: the stronger rival.
        libraries = glob.glob("/usr/lib/*/libjemalloc.so.2") if name == "valkey" else []
        self.environment = os.environ | ({"LD_PRELOAD": libraries[0]} if libraries else {})

    def version(self) -> str:
        """What the program says about itself, e.g. `Redis server v=7.0.15 malloc=jemalloc-5.3.0`."""
        result = subprocess.run([self.binary, "--version"], capture_output=True, text=True, check=False)
        words = result.stdout.strip().split()
        note = ["with jemalloc preloaded"] if "LD_PRELOAD" in self.environment else []
        return " ".join([word for word in words if not word.startswith(("sha=", "bits=", "build="))] + note)

    def arguments(self, port: int, directory: str, log: str, cut_log: bool) -> list[str]:
        """Directives for a run with the append-only log `off` or `everysec`, cut (rewritten) when it has grown or not."""
        common = ["--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", ""]
        common += ["--appendonly", "no" if log == "off" else "yes", "--appendfsync", "everysec"]
        if not cut_log:
            common += ["--auto-aof-rewrite-percentage", "0"]
        if self.name == "larder":
            # More than any part loads: what is compared here is the hot path, not tiering.
            common += ["--threads", "1", "--maxmemory", "8gb"]
        return common


class Server:
    """A running server, pinned to one core (or several), with its data in a temporary directory that goes with it."""

    def __init__(self, peer: Peer, options, log: str = "off", cut_log: bool = False, cores: str | None = None):
        self.peer = peer
        self.log = log
        self.cut_log = cut_log
        self.cores = cores or str(options.server_core)
        self.directory = tempfile.mkdtemp(prefix=f"larder-bench-{peer.name}-", dir=options.directory)
        self.port = free_port()
        self.process: subprocess.Popen | None = None

    def start(self, wait: bool = True) -> None:
        """Starts the process; with `wait`, until it answers PING."""
        command = ["taskset", "--cpu-list", self.cores, self.peer.binary]
        command += self.peer.arguments(self.port, self.directory, self.log, self.cut_log)
        with open(pathlib.Path(self.directory) / "output.txt", "ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.peer.environment
            )
        if wait:
            self.wait_for_reply(encode(b"PING"), b"+PONG\r\n")

    def wait_for_reply(self, request: bytes, expected: bytes) -> float:
        """Asks until the server gives the expected reply; returns the clock's time (s) when it did."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=START_TIMEOUT_S) as connection:
                    # Errors (LOADING) are asked again on the same connection.
                    while time.monotonic() < deadline:
                        connection.sendall(request)
                        reply = receive_at_least(connection, len(expected))
                        if reply == expected:
                            return time.monotonic()
                        if not reply.startswith(b"-"):
                            raise RuntimeError(f"{self.peer.name} answered {reply[:80]!r} instead of {expected[:80]!r}")
                        time.sleep(0.001)
            except OSError:
                time.sleep(0.001)
        output = (pathlib.Path(self.directory) / "output.txt").read_text(errors="replace")
        raise RuntimeError(f"{self.peer.name} did not answer {request!r}; its output ends with:\n{output[-2000:]}")

    def ask(self, *words: bytes) -> bytes:
        """The first bytes of the reply to one command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(encode(*words))
            return connection.recv(65536)

    def wait_for_background_work(self) -> None:
        """Until no snapshot and no rewrite of the log is under way; gives up after a minute."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            text = self.ask(b"INFO", b"persistence")
            if b"rdb_bgsave_in_progress:1" not in text and b"aof_rewrite_in_progress:1" not in text:
                return
            time.sleep(0.1)

    def load(self, commands: Iterable[bytes]) -> None:
        """Sends encoded commands whose replies are one line each, pipelined; an error reply stops the run."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection:
            batch = []
            for command in commands:
                batch.append(command)
                if len(batch) == COMMANDS_PER_WRITE:
                    send_batch(connection, batch)
                    batch = []
            send_batch(connection, batch)

    def cpu_seconds(self) -> float:
        """User and system time of all threads since the start of the process."""
        total_ns = 0
        try:
            for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
                total_ns += int((task / "schedstat").read_text().split()[0])
            return total_ns / 1e9
        except OSError:
            # A kernel without schedstat: the same in ticks of 10 ms.
            fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """VmRSS of the process."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"{self.peer.name} is gone")

    def stop(self, how: str = "discard") -> None:
        """`discard` (no save), `save` (SHUTDOWN with a save), `clean` (SHUTDOWN as configured) or `kill` (SIGKILL)."""
        if self.process is None:
            return
        words = {"discard": [b"SHUTDOWN", b"NOSAVE"], "save": [b"SHUTDOWN", b"SAVE"], "clean": [b"SHUTDOWN"]}.get(how)
        if self.process.poll() is None:
            if words is None:
                self.process.send_signal(signal.SIGKILL)
            else:
                try:
                    self.ask(*words)
                except OSError:
                    pass  # the connection goes away with the server
            try:
                self.process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def remove(self) -> None:
        """Stops the process and deletes its data."""
        self.stop("kill")
        shutil.rmtree(self.directory, ignore_errors=True)


def encode(*words: bytes) -> bytes:
    """One command as a RESP array of bulk strings."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def receive_at_least(connection: socket.socket, length: int) -> bytes:
    """Reads until `length` bytes are there, or a whole error line or null reply."""
    data = b""
    while len(data) < length and data != NULL_REPLY and not (data.startswith(b"-") and data.endswith(b"\r\n")):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("the server closed the connection")
        data += piece
    return data


def send_batch(connection: socket.socket, batch: list[bytes]) -> None:
    """Writes the commands and reads one line of reply for each."""
    if not batch:
        return
    connection.sendall(b"".join(batch))
    missing = len(batch)
    at_line_start = True
    while missing > 0:
        data = connection.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection while loading")
        if b"\n-" in data or (at_line_start and data.startswith(b"-")):
            raise RuntimeError(f"error reply while loading: {data[:200]!r}")
        at_line_start = data.endswith(b"\n")
        missing -= data.count(b"\n")
