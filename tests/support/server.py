"""Starts and ends servers for tests: Larder or redis-server, on a free port, in a directory of their own.

A server belongs to whoever started it and is ended by process id, never by name. Everything it prints goes to a file
beside its data, so that what it said last can be shown when it dies.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

START_SECONDS = 60
END_SECONDS = 30
SHOWN_LINES = 30


class ServerFailed(Exception):
    """A server that did not start, or ended by itself; the text has the end of its log."""


def free_port(first=29000, count=3000):
    """A port nobody listens on, below those that the system gives to outgoing connections.

    The search starts at a place that depends on the process and the time, so that drivers running at once rarely meet.
    """
    start = (os.getpid() * 7919 + time.monotonic_ns() // 1000) % count
    for step in range(count):
        port = first + (start + step) % count
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerFailed("no free port")


class Server:
    """A server process, its port, its directory."""

    def __init__(self, binary, directives=()):
        """`directives`: lists of words, such as ["maxmemory", "24mb"]; they win over the ones set here."""
        self.binary = os.path.abspath(binary)
        self.is_larder = not os.path.basename(binary).startswith(("redis", "valkey"))
        self.port = free_port()
        self.root = tempfile.mkdtemp(prefix="larder-test-")
        self.directives = [list(words) for words in directives]
        self.process = None

    @property
    def log_path(self):
        return os.path.join(self.root, "log")

    def command(self):
        """The command line."""
        data = os.path.join(self.root, "data")
        os.makedirs(data, exist_ok=True)
        basic = [
            ["bind", "127.0.0.1"],
            ["port", str(self.port)],
            ["dir", data],
            ["enable-debug-command", "yes"],
        ]
        given = {words[0] for words in self.directives}
        words = [self.binary]
        for name, *values in [line for line in basic if line[0] not in given] + self.directives:
            words += ["--" + name, *values]
        return words

    def start(self):
        """Starts the process and waits until it answers."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.root, start_new_session=True
            )
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None:
                raise ServerFailed(f"{self.binary} ended ({self.process.returncode}):\n{self.end_of_log()}")
            if time.monotonic() > end:
                self.kill()
                raise ServerFailed(f"{self.binary} does not answer:\n{self.end_of_log()}")
            time.sleep(0.02)
        return self

    def answers(self, seconds=2.0):
        """Whether PING is answered, be it by NOAUTH; while it loads, it does not count."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
                connection.settimeout(seconds)
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def figure(self, field):
        """An integer field of INFO; 0 if there is none or no answer."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                connection.settimeout(10)
                connection.sendall(b"INFO everything\r\nQUIT\r\n")
                with connection.makefile("rb") as answer:
                    text = answer.read().decode(errors="replace")
        except OSError:
            return 0
        values = [line.partition(":")[2] for line in text.split("\r\n") if line.startswith(field + ":")]
        return int(values[0]) if values else 0

    def has_ended(self):
        """Whether the process is gone."""
        return self.process is None or self.process.poll() is not None

    def kill(self):
        """SIGKILL: no handler, no flush."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(END_SECONDS)

    def log(self):
        """All that it printed, from all its starts."""
        try:
            with open(self.log_path, errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def end_of_log(self):
        """Its last lines."""
        return "\n".join(self.log().splitlines()[-SHOWN_LINES:])

    def remove(self):
        """Kills it and removes its directory."""
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)
