"""The stage on which the scenarios play: a server, the memory it has, and what happens to it meanwhile.

With `tiny` memory most keys are cold: before the scenarios start, more filler is written than fits, and a thread goes
on reading, writing and checking it, so that what the scenarios write is pushed out all the time. The scenarios, in any
language, direct the stage over a socket by one line: `chill` moves all their keys to disk at once (nothing happens with
`plenty` of memory), `restart` kills the server with SIGKILL and starts it again, `clean` empties the scenarios'
databases. The answer is `ok` or an error.
"""

import hashlib
import random
import socket
import socketserver
import threading
import time

from support.server import Server

PASSWORD = "open sesame"
DIRECTIVES = {
    "plenty": [["requirepass", PASSWORD]],
    "tiny": [["requirepass", PASSWORD], ["maxmemory", "24mb"]],
}
FILLER_DATABASE = "15"
# The databases that scenarios use.
DATABASES = [str(number) for number in range(8)]
FILLER_KEYS = 40_000
PAUSE_SECONDS = 0.03


def filler(number):
    """The key and the value of a filler, about 1 kB that cannot be compressed."""
    seed = hashlib.sha512(str(number).encode()).digest()
    return b"filler:%d" % number, random.Random(seed).randbytes(1000)


class Connection:
    """The least of a client that the stage itself needs; it shares no code with the clients under test."""

    def __init__(self, port, database="0"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.file = self.socket.makefile("rb")
        self.call("AUTH", PASSWORD)
        self.call("SELECT", database)

    def call(self, *words):
        """The reply to a command; an error reply raises."""
        return self.pipeline([words])[0]

    def pipeline(self, requests):
        """The replies to several commands sent at once."""
        encoded = []
        for words in requests:
            encoded.append(b"*%d\r\n" % len(words))
            for word in words:
                data = word if isinstance(word, bytes) else str(word).encode()
                encoded.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self.socket.sendall(b"".join(encoded))
        return [self._read() for _ in requests]

    def _read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        if kind == b"$":
            if rest == b"-1":
                return None
            data = self.file.read(int(rest) + 2)
            return data[:-2]
        return int(rest) if kind == b":" else rest

    def close(self):
        self.file.close()
        self.socket.close()


class Stage:
    """A running server, its load, and the port over which a scenario directs it. Use it in a `with` statement."""

    def __init__(self, binary, memory):
        self.memory = memory
        self.server = Server(binary, DIRECTIVES[memory])
        self.has_tiers = self.server.is_larder and memory == "tiny"
        if not self.server.is_larder:
            self.server.directives = [["requirepass", PASSWORD], ["save", ""], ["appendonly", "yes"], ["appendfsync", "no"]]
        self.control = None
        self.loader = None
        self.lock = threading.Lock()
        self.stop = threading.Event()
        # TIER STATS of the processes that were killed, and where sampled fillers were.
        self.demotions = 0
        self.places = {b"hot": 0, b"warm": 0, b"cold": 0}
        self.problems = []

    def __enter__(self):
        try:
            self.set()
        except BaseException:
            self.__exit__()
            raise
        return self

    def set(self):
        """Starts the server, the control port and the load."""
        self.server.start()
        stage = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    self.wfile.write(stage.direct(line.decode().strip()).encode() + b"\n")

        class Control(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self.control = Control(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.control.serve_forever, daemon=True).start()
        if self.has_tiers:
            self.fill()
            self.loader = threading.Thread(target=self.load, daemon=True)
            self.loader.start()

    def __exit__(self, *_):
        self.stop.set()
        if self.loader is not None:
            self.loader.join(90)
        if self.control is not None:
            self.control.shutdown()
            self.control.server_close()
        self.server.remove()

    @property
    def environment(self):
        """What the scenarios are told."""
        return {
            "LARDER_PORT": str(self.server.port),
            "LARDER_PASSWORD": PASSWORD,
            "LARDER_CONTROL_PORT": str(self.control.server_address[1]),
            "LARDER_MEMORY": self.memory,
        }

    def direct(self, order):
        """Does what a scenario asks for."""
        actions = {"restart": self.restart, "chill": self.chill, "clean": self.clean}
        try:
            with self.lock:
                actions[order]()
            return "ok"
        except Exception as problem:  # whatever it is, the scenario is told and fails
            return f"error: {order}: {problem!r}".replace("\n", " ")

    def restart(self):
        """SIGKILL, and a start on the same data and port."""
        self.note_statistics()
        self.server.kill()
        self.server.start()

    def chill(self):
        """Moves the keys of all databases that scenarios use to the cold tier."""
        if not self.has_tiers:
            return
        self.in_all_databases("TIER", "DEMOTE", "ALL")

    def clean(self):
        """Removes what the scenario before has left behind."""
        self.in_all_databases("FLUSHDB")

    def in_all_databases(self, *words):
        connection = Connection(self.server.port)
        for database in DATABASES:
            connection.call("SELECT", database)
            connection.call(*words)
        connection.close()

    def note_statistics(self):
        """Adds up what ends with the process."""
        if self.has_tiers:
            connection = Connection(self.server.port)
            reply = connection.call("TIER", "STATS")
            self.demotions += dict(zip(reply[::2], reply[1::2]))[b"demotions"]
            connection.close()

    def fill(self):
        """Writes more than fits into memory."""
        connection = Connection(self.server.port, FILLER_DATABASE)
        for first in range(0, FILLER_KEYS, 500):
            connection.pipeline([("SET", *filler(number)) for number in range(first, first + 500)])
        connection.close()

    def load(self):
        """Until the end: reads fillers and checks them, writes them again, looks where they are."""
        connection = None
        while not self.stop.wait(PAUSE_SECONDS):
            try:
                connection = connection or Connection(self.server.port, FILLER_DATABASE)
                self.load_some(connection)
            except (OSError, RuntimeError) as problem:
                connection = None
                with self.lock:  # a restart that is under way is waited for
                    if not self.server.answers(20):
                        self.problems.append(f"the filler's connection: {problem!r}")
                        return

    def load_some(self, connection):
        numbers = random.sample(range(FILLER_KEYS), 20)
        fillers = [filler(number) for number in numbers]
        for place in connection.call("TIER", "WHERE", *[key for key, _ in fillers]):
            if place is not None:
                self.places[place] += 1
        values = connection.pipeline([("GET", key) for key, _ in fillers])
        for (key, expected), value in zip(fillers, values):
            # None after a scenario's FLUSHALL; a lost acknowledged write would show in the scenarios.
            if value not in (expected, None):
                self.problems.append(f"{key!r} has a wrong value")
        connection.pipeline([("SET", *pair) for pair in fillers])

    def verdict(self):
        """What was wrong with the server in the end, and a line about the tiers."""
        if self.server.has_ended():
            return [f"the server ended by itself:\n{self.server.end_of_log()}"], ""
        problems = self.problems
        if self.server.is_larder:
            bad = [line for line in self.server.log().splitlines() if "ERROR" in line or "panicked at" in line]
            problems = problems + [f"the server logged: {line}" for line in bad[:3]]
        if not self.has_tiers:
            return problems, ""
        self.note_statistics()
        total = sum(self.places.values())
        if self.demotions < FILLER_KEYS // 2 or self.places[b"hot"] * 2 > total:
            problems = problems + ["most keys were not cold, so this run shows nothing"]
        shares = ", ".join(f"{count * 100 // max(total, 1)} % {name.decode()}" for name, count in self.places.items())
        return problems, f"{self.demotions} demotions; of the sampled keys {shares}"
