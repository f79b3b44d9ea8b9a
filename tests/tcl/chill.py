"""Keeps the keys of a server on disk while a suite runs: every few milliseconds all of them are moved there.

So nearly every command of the suite finds its keys cold, although the suite's data would fit into the smallest memory.
The price is one more client, which a few tests see in CLIENT LIST or in the statistics.
"""

import socket
import threading

PAUSE_SECONDS = 0.005
# The suite works in database 9, or only in 0.
REQUEST = b"".join(b"SELECT %d\r\nTIER DEMOTE ALL\r\n" % database for database in (0, 9))
REPLIES = 4


class Chiller:
    """A thread that demotes all keys while its `with` block runs."""

    def __init__(self, port):
        self.port = port
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(30)

    def _run(self):
        while not self.stop.wait(PAUSE_SECONDS):
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                    connection.settimeout(10)
                    with connection.makefile("rb") as replies:
                        self._demote(connection, replies)
            except OSError:
                # A test has cut this connection, or the server is gone; the next one is tried until the unit ends.
                continue

    def _demote(self, connection, replies):
        while not self.stop.wait(PAUSE_SECONDS):
            connection.sendall(REQUEST)
            for _ in range(REPLIES):
                if not replies.readline():
                    return
