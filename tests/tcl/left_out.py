"""Tests that cannot pass, and that would take the rest of their unit with them: they wait for what never comes, or leave
their client or the server in a state that spoils all that follows. They are not run, and count as failed.

Each one is listed in docs/differences.md, too.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class LeftOut:
    """One such test, and why it cannot pass."""

    name: str
    because: str
    # Only in suites of a version that begins so.
    version: str = ""
    # A profile that denies this tag does not run it anyway.
    tag: str = ""
    # Larder passes it with `maxdisk 0`.
    only_with_cold_tier: bool = False


_ALL = (
    LeftOut(
        "Tracking only occurs for scripts when a command calls a read-only command",
        "waits to hear of keys that a script declared and did not read; from Redis 7.2 on, only those read are tracked",
        version="7.0.",
    ),
    LeftOut(
        "exec with read commands and stale replica state change",
        "needs a replica; the refused REPLICAOF leaves the client in MULTI",
        tag="needs:repl",
    ),
    LeftOut(
        "Keyspace notifications: evicted events",
        "waits for an eviction; keys go to disk instead",
        tag="needs:config-maxmemory",
        only_with_cold_tier=True,
    ),
    LeftOut(
        "Tracking invalidation message of eviction keys should be before response",
        "expects an eviction and leaves a `maxmemory` that is less than the process needs; keys go to disk instead",
        only_with_cold_tier=True,
    ),
)


def left_out(version, denied_tags, has_cold_tier):
    """What the suite of this version must not run: the reason by the test's name."""
    return {
        test.name: test.because
        for test in _ALL
        if version.startswith(test.version)
        and test.tag not in denied_tags
        and (has_cold_tier or not test.only_with_cold_tier)
    }
