"""The records that the memory and restart parts load: small counters-to-be and JSON of 1 kB, the same in every run."""

import json
import random
from collections.abc import Iterator

import servers

JSON_BYTES = 1000
WORDS = (
    "album artist bitrate catalog chapter channel codec country created duration episode explicit genre image label "
    "language license loudness market played playlist popularity preview published quality release season title track url"
).split()


def small(keys: int) -> Iterator[bytes]:
    """SET of a 16-byte key and a 10-byte value that no server can store as an integer."""
    return (servers.encode(b"SET", b"key:%012d" % number, small_value(number)) for number in range(keys))


def small_value(number: int) -> bytes:
    """The value of a small record."""
    return b"v%09d" % number


def documents(keys: int) -> Iterator[bytes]:
    """SET of a 16-byte key and a JSON document of 1,000 bytes."""
    endings = document_endings()
    return (servers.encode(b"SET", b"key:%012d" % number, document(number, endings)) for number in range(keys))


def document(number: int, endings: list[bytes]) -> bytes:
    """The JSON document with this number: its own id and tag, and one of about a thousand bodies."""
    tag = number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    return b'{"id":%8d,"etag":"%016x",' % (number, tag) + endings[number % len(endings)]


def document_endings() -> list[bytes]:
    """997 JSON bodies of equal length: text, numbers, hexadecimal, flags, in the proportions of an API's answers."""
    generator = random.Random(1)
    length = JSON_BYTES - len(document(0, [b""]))
    endings = []
    for _ in range(997):
        fields = {}
        while len(json.dumps(fields)) < length - 180:
            name = generator.choice(WORDS) + generator.choice(("", "_id", "_at", "_name"))
            fields[name] = generator.choice((
                " ".join(generator.choices(WORDS, k=5)).title(),
                generator.randrange(10**9),
                f"{generator.getrandbits(96):024x}",
                generator.random() < 0.5,
            ))
        body = json.dumps(fields, separators=(",", ":"))[1:-1]
        note = " ".join(generator.choices(WORDS, k=60))
        body += ',"note":"' + note[: length - len(body) - 11]
        endings.append(body.encode() + b'"}')
    assert {len(ending) for ending in endings} == {length}
    return endings
