"""The back end 2, a music server on redis-py: its tracks and queues are there after a restart, and lose nothing."""

import json
import threading

import redis

from scenario import connect, direct, wait_until

TRACKS = 1500
JOBS = 400


def track(number):
    words = " ".join(f"w{number * step % 997}" for step in range(1, 60))
    return {"title": f"Track {number}", "artist": f"Artist {number % 90}", "lyrics": words, "seconds": number % 400}


def track_store(protocol):
    """50 MB in the original, read at start-up; here fewer, but cold and after a SIGKILL."""
    client = connect(protocol=protocol)
    prefix = f"track:{protocol}:"
    pipeline = client.pipeline(transaction=False)
    for number in range(TRACKS):
        pipeline.set(f"{prefix}{number:05}", json.dumps(track(number)))
        pipeline.incr(f"plays:{protocol}:{number % 100}")
    assert len(pipeline.execute()) == 2 * TRACKS
    direct("chill")
    direct("restart")
    found = sorted(client.scan_iter(match=prefix + "*", count=500))
    assert found == [f"{prefix}{number:05}" for number in range(TRACKS)], len(found)
    for first in range(0, TRACKS, 250):
        values = client.mget(found[first : first + 250])
        assert [json.loads(value) for value in values] == [track(first + offset) for offset in range(250)]
    plays = client.mget([f"plays:{protocol}:{number}" for number in range(100)])
    assert plays == [str(TRACKS // 100)] * 100, plays
    assert client.delete(*found) == TRACKS


def sync_queue():
    """LPUSH here, BLMOVE into a processing list there; the consumer dies, the server dies, no job is lost or doubled."""
    client = connect()
    queue, processing, done = "sync:user:7", "sync:user:7:processing", "sync:user:7:done"
    for first in range(0, JOBS, 50):
        client.lpush(queue, *[json.dumps({"job": number, "pad": "x" * 300}) for number in range(first, first + 50)])
    direct("chill")
    assert client.llen(queue) == JOBS

    def work(count):
        for _ in range(count):
            job = client.blmove(queue, processing, timeout=5, src="RIGHT", dest="LEFT")
            with client.pipeline() as both:
                both.rpush(done, json.loads(job)["job"])
                both.lrem(processing, 1, job)
                assert both.execute()[1] == 1

    work(JOBS // 2)
    # Taken, but not done, when everything ends.
    taken = client.lmove(queue, processing, "RIGHT", "LEFT")
    direct("chill")
    direct("restart")
    assert client.lrange(processing, 0, -1) == [taken]
    assert client.lmove(processing, queue, "LEFT", "RIGHT") == taken
    work(JOBS - JOBS // 2)
    assert client.lrange(done, 0, -1) == [str(number) for number in range(JOBS)]
    assert client.exists(queue, processing) == 0
    client.delete(done)


def waiting_consumers():
    """BRPOP over two queues: consumers that wait are served in their order, one whose time is up gets nothing."""
    client = connect()
    assert client.brpop(["download_jobs", "lyrics_jobs"], timeout=0.1) is None
    served, names = [], ["first", "second", "third"]
    threads = []
    for position, name in enumerate(names):
        consumer = connect()
        thread = threading.Thread(
            target=lambda name=name, consumer=consumer: served.append(
                (name, consumer.brpop(["download_jobs", "lyrics_jobs"], timeout=15))
            ),
            daemon=True,
        )
        thread.start()
        threads.append(thread)
        wait_until("it waits", lambda: client.info("clients")["blocked_clients"] == position + 1)
    for number, queue in enumerate(["lyrics_jobs", "download_jobs", "lyrics_jobs"]):
        client.lpush(queue, f"job {number}")
        threads[number].join(15)
    assert served == [
        ("first", ("lyrics_jobs", "job 0")),
        ("second", ("download_jobs", "job 1")),
        ("third", ("lyrics_jobs", "job 2")),
    ] or served == [
        ("first", ["lyrics_jobs", "job 0"]),
        ("second", ["download_jobs", "job 1"]),
        ("third", ["lyrics_jobs", "job 2"]),
    ], served
    assert client.info("clients")["blocked_clients"] == 0


def recently_played_and_dashboard():
    """LPUSH + LTRIM, counters, favourites with a deadline, and the figures of the dashboard."""
    client = connect()
    before = client.info("stats")
    for number in range(120):
        with client.pipeline() as together:
            together.lpush("recent:7", f"track {number}")
            together.ltrim("recent:7", 0, 49)
            together.incr("plays:total")
            together.execute()
    client.set("progress:7", "88", ex=30)
    client.set("favourites:7", json.dumps([1, 2, 3]), px=3_600_000)
    direct("chill")
    assert client.lrange("recent:7", 0, -1) == [f"track {number}" for number in range(119, 69, -1)]
    assert client.get("plays:total") == "120"
    assert 0 < client.ttl("progress:7") <= 30
    assert 3_500_000 < client.pttl("favourites:7") <= 3_600_000
    assert client.get("no such key") is None
    after = client.info()
    assert after["keyspace_hits"] > before["keyspace_hits"] and after["keyspace_misses"] > before["keyspace_misses"]
    assert after["used_memory"] > 0 and after["db0"]["keys"] >= 4
    assert client.dbsize() == after["db0"]["keys"]
    client.set("short", "gone soon", px=50)
    wait_until("it expires", lambda: not client.exists("short"))
    client.delete("recent:7", "plays:total", "progress:7", "favourites:7")


def optimistic_transactions():
    """WATCH, and redis-py's transaction() that tries again."""
    client, rival = connect(), connect()
    client.set("balance", 100)
    direct("chill")
    with client.pipeline() as pipeline:
        pipeline.watch("balance")
        balance = int(pipeline.get("balance"))
        rival.decrby("balance", 1)
        pipeline.multi()
        pipeline.set("balance", balance - 10)
        try:
            pipeline.execute()
            raise AssertionError("a watched key was changed")
        except redis.WatchError:
            pass

    def take_ten(pipeline):
        balance = int(pipeline.get("balance"))
        pipeline.multi()
        pipeline.set("balance", balance - 10)

    client.transaction(take_ten, "balance")
    assert client.getdel("balance") == "89"


SCENARIOS = [
    ("track_store_resp2", lambda: track_store(2)),
    ("track_store_resp3", lambda: track_store(3)),
    ("sync_queue", sync_queue),
    ("waiting_consumers", waiting_consumers),
    ("recently_played_and_dashboard", recently_played_and_dashboard),
    ("optimistic_transactions", optimistic_transactions),
]
