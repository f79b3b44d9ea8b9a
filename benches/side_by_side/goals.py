"""Larder's goals, each a ceiling on a ratio or a time; the worst scenario decides."""

import statistics_of

GOALS = (
    # (what, measure and its arguments, ceiling)
    ("CPU per request, depth 1, of redis-server's", ("cpu", 1, "redis"), 1.0),
    ("CPU per request, depth 1, of Valkey's", ("cpu", 1, "valkey"), 1.0),
    ("CPU per request, depth 16, of redis-server's", ("cpu", 16, "redis"), 0.33),
    ("CPU per request, depth 16, of Valkey's", ("cpu", 16, "valkey"), 0.7),
    ("CPU per request, depth 64, of redis-server's", ("cpu", 64, "redis"), 0.2),
    ("CPU per request, depth 64, of Valkey's", ("cpu", 64, "valkey"), 0.45),
    ("CPU per SET with the log on, of the same with it off", ("log",), 1.15),
    ("memory of small keys, of redis-server's", ("memory", "redis"), 0.55),
    ("memory of small keys, of Valkey's", ("memory", "valkey"), 0.9),
    ("first GET after a restart with 1 GB, ms", ("restart",), 200.0),
)


def evaluate(results: dict) -> list[dict]:
    """One row for each goal that these results can judge: what, ceiling, worst value and where, reached or not."""
    rows = []
    for what, (kind, *arguments), ceiling in GOALS:
        candidates = MEASURES[kind](results, *arguments)
        if candidates:
            worst, where = max(candidates)
            rows.append({"goal": what, "ceiling": ceiling, "worst": worst, "where": where, "reached": worst <= ceiling})
    return rows


def cpu_ratios(results: dict, depth: int, other: str) -> list[tuple[float, str]]:
    """GET and SET of both sizes with the log off: Larder's CPU as a share of the other's."""
    found = []
    for row in results.get("throughput", []):
        if row["depth"] == depth and row["log"] == "off" and row["name"].startswith(("GET", "SET")):
            share = statistics_of.ratio(row, "cpu_us", "larder", other)
            if share is not None:
                found.append((share, row["name"]))
    return found


def log_ratios(results: dict) -> list[tuple[float, str]]:
    """Larder's CPU per SET with the log at everysec as a share of that with the log off."""
    rows = [row for row in results.get("throughput", []) if row["name"].startswith("SET")]
    by_log = {(row["name"], row["depth"], row["log"]): row for row in rows}
    found = []
    for (name, depth, log), row in by_log.items():
        without = by_log.get((name, depth, "off"))
        if log == "everysec" and without and statistics_of.values(row, "larder", "cpu_us"):
            share = statistics_of.median(row, "larder", "cpu_us") / statistics_of.median(without, "larder", "cpu_us")
            found.append((share, f"{name}, depth {depth}"))
    return found


def memory_ratios(results: dict, other: str) -> list[tuple[float, str]]:
    """Larder's bytes per small key as a share of the other's."""
    rows = [row for row in results.get("memory", []) if "10 B" in row["name"]]
    shares = [(statistics_of.ratio(row, "bytes_per_key", "larder", other), row["name"]) for row in rows]
    return [(share, name) for share, name in shares if share is not None]


def restart_times(results: dict) -> list[tuple[float, str]]:
    """Larder's milliseconds to the first GET in every mode."""
    rows = [row for row in results.get("restart", []) if statistics_of.values(row, "larder", "first_get_ms")]
    return [(statistics_of.median(row, "larder", "first_get_ms"), row["name"]) for row in rows]


MEASURES = {"cpu": cpu_ratios, "log": log_ratios, "memory": memory_ratios, "restart": restart_times}
