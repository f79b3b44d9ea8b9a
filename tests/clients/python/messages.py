"""Messages and locks of redis-py, with asyncio as well: pub/sub in both protocols, streams with groups, Lua locks."""

import asyncio
import os

import redis
import redis.asyncio

from scenario import PASSWORD, PORT, REPLY_SECONDS, connect, direct


def read_messages(subscription, count):
    """The next messages, without the confirmations."""
    messages = []
    while len(messages) < count:
        message = subscription.get_message(ignore_subscribe_messages=True, timeout=REPLY_SECONDS)
        if message is not None:
            messages.append((message["type"], message["channel"], message["data"]))
    return messages


def publish_and_subscribe(protocol):
    """Channels and patterns; a RESP3 connection receives them as push messages."""
    client = connect(protocol=protocol)
    subscription = client.pubsub()
    subscription.subscribe("news", "weather")
    subscription.psubscribe("sport.*")
    for _ in range(3):
        confirmation = subscription.get_message(timeout=REPLY_SECONDS)
        assert confirmation["type"] in ("subscribe", "psubscribe"), confirmation
    assert client.publish("news", "one") == 1
    assert client.publish("sport.tennis", "two") == 1
    assert client.publish("nobody listens", "three") == 0
    assert client.publish("weather", "four") == 1
    assert read_messages(subscription, 3) == [
        ("message", "news", "one"),
        ("pmessage", "sport.tennis", "two"),
        ("message", "weather", "four"),
    ]
    assert sorted(client.pubsub_channels()) == ["news", "weather"]
    assert client.pubsub_numsub("news") == [("news", 1)] and client.pubsub_numpat() == 1
    subscription.unsubscribe("news")
    subscription.get_message(timeout=REPLY_SECONDS)
    assert client.publish("news", "five") == 0
    subscription.close()


def streams():
    """A stream with a consumer group: what a dead consumer has taken is claimed by another, also after a SIGKILL."""
    client = connect()
    ids = [client.xadd("events", {"number": number, "pad": "x" * 200}) for number in range(200)]
    client.xgroup_create("events", "workers", id="0")
    taken = client.xreadgroup("workers", "mortal", {"events": ">"}, count=30)[0][1]
    assert [entry for entry, _ in taken] == ids[:30]
    assert client.xack("events", "workers", *ids[:10]) == 10
    direct("chill")
    direct("restart")
    pending = client.xpending("events", "workers")
    assert pending["pending"] == 20 and pending["min"] == ids[10] and pending["max"] == ids[29], pending
    claimed = client.xautoclaim("events", "workers", "heir", min_idle_time=0, start_id="0-0", count=100)
    assert [entry for entry, _ in claimed[1]] == ids[10:30]
    assert client.xack("events", "workers", *ids[10:30]) == 20
    seen = 30
    while True:
        reply = client.xreadgroup("workers", "heir", {"events": ">"}, count=64, block=20)
        if not reply:
            break
        entries = reply[0][1]
        assert [int(fields["number"]) for _, fields in entries] == list(range(seen, seen + len(entries)))
        seen += len(entries)
        client.xack("events", "workers", *[entry for entry, _ in entries])
    assert seen == 200 and client.xpending("events", "workers")["pending"] == 0
    assert client.xlen("events") == 200
    assert client.xtrim("events", maxlen=50, approximate=False) == 150
    assert client.xrange("events", count=1)[0][0] == ids[150]
    assert client.xinfo_groups("events")[0]["last-delivered-id"] == ids[-1]
    client.delete("events")


def locks():
    """redis-py's Lock: taken by SET NX PX, given back and extended by Lua scripts."""
    client = connect()
    lock = client.lock("lock:import", timeout=30, blocking_timeout=0.2)
    assert lock.acquire()
    rival = client.lock("lock:import", timeout=30, blocking_timeout=0.2)
    assert not rival.acquire()
    direct("chill")
    assert lock.extend(60) and lock.owned()
    assert 60_000 < client.pttl("lock:import") <= 90_000
    lock.release()
    assert rival.acquire()
    client.set("lock:import", "stolen")
    try:
        rival.release()
        raise AssertionError("another one's lock was released")
    except redis.exceptions.LockNotOwnedError:
        pass
    client.delete("lock:import")
    script = client.register_script("return {KEYS[1], redis.call('INCRBY', KEYS[1], ARGV[1])}")
    assert script(keys=["scripted"], args=[5]) == ["scripted", 5]
    client.script_flush()
    # The library loads it again when it is told NOSCRIPT.
    assert script(keys=["scripted"], args=[5]) == ["scripted", 10]
    client.delete("scripted")


def asynchronous():
    """redis.asyncio in RESP3: transactions, many waiters at a time, messages, and a server that is killed."""

    async def scenario():
        client = redis.asyncio.Redis(
            host="127.0.0.1", port=PORT, password=PASSWORD, protocol=3, decode_responses=True, socket_timeout=REPLY_SECONDS
        )
        async with client.pipeline(transaction=True) as pipeline:
            replies = await pipeline.hset("session:1", mapping={"user": "7", "role": "dj"}).zadd(
                "scores", {"a": 1.5, "b": 2}
            ).zrange("scores", 0, -1, withscores=True).hgetall("session:1").execute()
        assert replies == [2, 2, [["a", 1.5], ["b", 2.0]], {"user": "7", "role": "dj"}], replies
        waiting = [asyncio.create_task(client.blpop([f"inbox:{number}"], timeout=15)) for number in range(20)]
        for number in range(20):
            await client.rpush(f"inbox:{number}", f"message {number}")
        for number, reply in enumerate(await asyncio.gather(*waiting)):
            assert list(reply) == [f"inbox:{number}", f"message {number}"], reply
        async with client.pubsub() as subscription:
            await subscription.subscribe("live")
            await subscription.get_message(timeout=REPLY_SECONDS)
            await client.publish("live", "on air")
            message = await subscription.get_message(ignore_subscribe_messages=True, timeout=REPLY_SECONDS)
            assert message["data"] == "on air", message
        await asyncio.to_thread(direct, "chill")
        await asyncio.to_thread(direct, "restart")
        assert await client.hgetall("session:1") == {"user": "7", "role": "dj"}
        assert await client.delete("session:1", "scores") == 2
        await client.aclose()

    asyncio.run(asyncio.wait_for(scenario(), 60))


SCENARIOS = [
    ("publish_and_subscribe_resp2", lambda: publish_and_subscribe(2)),
    ("publish_and_subscribe_resp3", lambda: publish_and_subscribe(3)),
    ("streams", streams),
    ("locks", locks),
    ("asynchronous", asynchronous),
]
