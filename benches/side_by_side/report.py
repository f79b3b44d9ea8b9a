"""The results as tables, for the terminal and as Markdown."""

import statistics_of

Table = tuple[str, list[str], list[list[str]]]  # title, header, rows

METRICS = (
    # (title, metric, format of one value)
    ("Server CPU for each request, µs", "cpu_us", "{:.2f}"),
    ("Requests per second (in brackets: how busy the server's core was)", "requests_per_s", "{:,.0f}"),
    ("p99, ms", "p99_ms", "{:.2f}"),
)


def as_text(results: dict, names: list[str]) -> str:
    """All tables in columns."""
    return "\n".join(text_table(table) for table in tables(results, names))


def as_markdown(results: dict, names: list[str]) -> str:
    """All tables as Markdown, with the command and the machine."""
    quick = " (quick mode: a tenth of the keys and requests)" if results["quick"] else ""
    head = [
        f"Machine: {results['machine']}",
        "",
        f"Command: `{results['command']}`{quick}",
        "",
        f"Medians of {results['rounds']} alternating rounds, smallest and largest in brackets. A ratio below 1 means "
        f"that {names[0]} needs less (for requests per second: serves fewer).",
        "",
    ]
    return "\n".join(head) + "\n" + "\n".join(markdown_table(table) for table in tables(results, names))


def tables(results: dict, names: list[str]) -> list[Table]:
    """Every table these results can fill."""
    found = []
    rows = results.get("throughput", [])
    if rows:
        for title, metric, form in METRICS:
            body = [[row["name"], str(row["depth"]), row["log"], *cells(row, names, metric, form)] for row in rows]
            found.append((title, ["command", "depth", "log", *names, *ratio_names(names)], body))
    for title, metric, form in METRICS[:2] if results.get("features") else ():
        body = [[row["name"], str(row["depth"]), *cells(row, names, metric, form)] for row in results["features"]]
        found.append((f"Scripts, messages, streams: {title}", ["what", "depth", *names, *ratio_names(names)], body))
    if results.get("memory"):
        body = [[row["name"], *cells(row, names, "bytes_per_key", "{:.1f}")] for row in results["memory"]]
        keys = results["memory"][0]["keys"]
        found.append((f"Resident bytes for each key, {keys:,} keys", ["record", *names, *ratio_names(names)], body))
        body = [[row["name"], *cells(row, names, "full_megabytes", "{:.0f}")] for row in with_megabytes(results["memory"])]
        found.append(("Resident size of the whole process, MB", ["record", *names, *ratio_names(names)], body))
    if results.get("restart"):
        body = [[row["name"], *cells(row, names, "first_get_ms", "{:,.0f}")] for row in results["restart"]]
        size = results["restart"][0]["keys"] / 1_000_000
        title = f"Milliseconds from start to the first GET, {size:g} GB"
        found.append((title, ["stopped by", *names, *ratio_names(names)], body))
    if results.get("goals"):
        body = [
            [goal["goal"], f"{goal['ceiling']:g}", f"{goal['worst']:.3g}", goal["where"], "reached" if goal["reached"] else "missed"]
            for goal in results["goals"]
        ]
        found.append(("Goals (the worst scenario decides)", ["goal", "at most", "measured", "worst in", ""], body))
    return found


def with_megabytes(rows: list[dict]) -> list[dict]:
    """The memory rows with the resident size in MB."""
    return [
        {**row, "servers": {n: [{"full_megabytes": m["full_bytes"] / 1e6} for m in ms] for n, ms in row["servers"].items()}}
        for row in rows
    ]


def ratio_names(names: list[str]) -> list[str]:
    """Column heads for the first server compared with each other one."""
    return [f"{names[0]} / {other}" for other in names[1:]]


def cells(row: dict, names: list[str], metric: str, form: str) -> list[str]:
    """Median and range of each server, then the ratios."""
    found = []
    for name in names:
        measured = statistics_of.values(row, name, metric)
        text = form.format(statistics_of.median(row, name, metric))
        if metric == "requests_per_s":
            text += f" ({statistics_of.median(row, name, 'busy') * 100:.0f} %)"
        else:
            text += f" ({form.format(min(measured))} to {form.format(max(measured))})"
        found.append(text)
    ratios = [statistics_of.ratio(row, metric, names[0], other) for other in names[1:]]
    return found + [f"{ratio:.2f}" for ratio in ratios]


def text_table(table: Table) -> str:
    """The table in columns as wide as their widest cell."""
    title, header, rows = table
    widths = [max(len(line[column]) for line in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in [header, *rows]]
    return "\n".join(["", title, lines[0], "-" * len(lines[0]), *lines[1:]])


def markdown_table(table: Table) -> str:
    """The table as Markdown under a heading."""
    title, header, rows = table
    lines = ["| " + " | ".join(line) + " |" for line in [header, *rows]]
    return "\n".join([f"### {title}", "", lines[0], "|" + "---|" * len(header), *lines[1:], ""])
