"""Medians, ranges and ratios of the measurements in a result row."""

import statistics


def values(row: dict, server: str, metric: str) -> list[float]:
    """The metric of every round."""
    return [measured[metric] for measured in row["servers"].get(server, [])]


def median(row: dict, server: str, metric: str) -> float:
    """The median over the rounds."""
    return statistics.median(values(row, server, metric))


def ratio(row: dict, metric: str, subject: str, other: str) -> float | None:
    """Median of the subject divided by the median of the other; None when one of them did not run."""
    if not values(row, subject, metric) or not values(row, other, metric):
        return None
    return median(row, subject, metric) / median(row, other, metric)
