"""What operators run against a back end: redis-cli in its modes, MONITOR, figures, and the removal of a database."""

import os
import re
import subprocess
import threading

from scenario import PASSWORD, PORT, connect, direct, wait_until

DATABASE = 3


def redis_cli(*words):
    """The output of redis-cli on this scenario's database."""
    environment = {**os.environ, "REDISCLI_AUTH": PASSWORD}
    command = ["redis-cli", "-h", "127.0.0.1", "-p", str(PORT), "-n", str(DATABASE), *words]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def command_line():
    """ping, --scan, --bigkeys, --memkeys, DBSIZE, FLUSHDB: for a database that is cold."""
    client = connect(database=DATABASE)
    for number in range(50):
        client.set(f"seen:catalog:{number}", "x" * 100)
    client.set("biggest", "y" * 5000)
    client.rpush("longest", *range(300))
    direct("chill")
    assert redis_cli("ping") == "PONG\n"
    found = redis_cli("--scan", "--pattern", "seen:catalog:*").split()
    assert sorted(found) == sorted(f"seen:catalog:{number}" for number in range(50)), found
    big = redis_cli("--bigkeys")
    assert re.search(r'Biggest string found \S*"biggest"\S* has 5000 bytes', big), big
    assert re.search(r'Biggest +list found \S*"longest"\S* has 300 items', big), big
    assert re.search(r'Biggest string found \S*"biggest"\S* has \d+ bytes', redis_cli("--memkeys"))
    assert redis_cli("dbsize") == "52\n"
    assert redis_cli("flushdb") == "OK\n"
    assert client.dbsize() == 0


def monitor():
    """MONITOR shows what others do."""
    client, seen = connect(database=DATABASE), []
    ready = threading.Event()

    def watch():
        with connect().monitor() as stream:
            ready.set()
            for line in stream.listen():
                seen.append(line)
                if line["command"].upper().startswith("DEL"):
                    return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    ready.wait(20)
    client.set("watched", "a b")
    client.delete("watched")
    thread.join(20)
    ours = [line["command"] for line in seen if line["db"] == DATABASE and "watched" in line["command"]]
    assert ours == ["SET watched a b", "DEL watched"], seen


def slow_log_and_latency():
    """The slow log with its limit at zero."""
    client = connect(database=DATABASE)
    limit = client.config_get("slowlog-log-slower-than")["slowlog-log-slower-than"]
    client.slowlog_reset()
    client.config_set("slowlog-log-slower-than", 0)
    client.set("slow", "value")
    client.config_set("slowlog-log-slower-than", limit)
    wait_until("it is logged", lambda: any(b"SET slow value" in entry["command"] for entry in client.slowlog_get(20)))
    client.slowlog_reset()
    client.delete("slow")


SCENARIOS = [("redis_cli", command_line), ("monitor", monitor), ("slow_log", slow_log_and_latency)]
