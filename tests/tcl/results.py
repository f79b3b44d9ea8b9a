"""Reads what the Tcl suite prints for a unit, and prints and writes what became of all units."""

import os
import re
from dataclasses import dataclass, field

# "[ok]: name (3 ms)", "[err]: name in tests/unit/x.tcl" and details below, "[ignore]: name: reason", "[skip]: name".
_LINE = re.compile(r"^\[([a-z]+)\]: (.*)$")
_PASSED = re.compile(r"^(.*) \(\d+ ms\)$")
_FAILED = re.compile(r"^(.*) in tests/\S+\.tcl$")


@dataclass
class Test:
    """One test: outcome `ok`, `err` or `skip`."""

    outcome: str
    name: str
    detail: str = ""


@dataclass
class Unit:
    """One unit file: its tests, and how its run ended."""

    name: str
    status: str = "done"
    seconds: int = 0
    demotions: int = 0
    tests: list = field(default_factory=list)

    def count(self, outcome):
        """How many tests ended so."""
        return sum(test.outcome == outcome for test in self.tests)

    def is_good(self):
        """Whether it came to its end without a failure."""
        return self.status == "done" and not self.count("err")


def _detail(following):
    """The first line of an error. The suite cuts off its first 10 characters, but often repeats it in full below."""
    first, second = ([line.strip() for line in following[:2]] + ["", ""])[:2]
    return second if second[10:] == first else first


def parse(text, left_out):
    """The tests in the output of one unit, and whether the suite came to its end. Those of `left_out` (why, by name) were not
    run: they count as failed."""
    tests = []
    lines = text.splitlines()
    for position, line in enumerate(lines):
        if line.strip() == "The End":
            return tests, True
        match = _LINE.match(line)
        if not match:
            continue
        kind, rest = match.groups()
        if kind == "ok":
            passed = _PASSED.match(rest)
            tests.append(Test("ok", passed.group(1) if passed else rest))
        elif kind in ("err", "exception"):
            failed = _FAILED.match(rest)
            if failed:
                tests.append(Test("err", failed.group(1), _detail(lines[position + 1 :])))
            else:
                tests.append(Test("err", "(outside a test)", _detail([rest, *lines[position + 1 :]])))
        elif kind == "skip" and rest in left_out:
            tests.append(Test("err", rest, f"left out: {left_out[rest]}"))
        elif kind in ("ignore", "skip"):
            tests.append(Test("skip", rest))
    return tests, False


def unit_line(unit):
    """What is printed when a unit is through."""
    status = "" if unit.status == "done" else f"  {unit.status}"
    if unit.demotions:
        status += f"  ({unit.demotions} demotions)"
    return (
        f"{unit.name:<42} passed {unit.count('ok'):4}  failed {unit.count('err'):3}"
        f"  skipped {unit.count('skip'):3}  {unit.seconds:4} s{status}"
    )


def print_summary(units, seconds):
    """The failed tests with the first line of their errors, then the total."""
    failed = [(unit, test) for unit in units for test in unit.tests if test.outcome == "err"]
    if failed:
        print("\nFailed tests:")
    for unit, test in failed:
        print(f"  {unit.name}: {test.name}\n      {test.detail[:300]}")
    incomplete = [unit for unit in units if unit.status != "done"]
    if incomplete:
        print("\nUnits that did not come to their end:")
    for unit in incomplete:
        print(f"  {unit.name}: {unit.status}")
    demotions = sum(unit.demotions for unit in units)
    if demotions:
        print(f"\nDemotions to the cold tier: {demotions}, in {sum(unit.demotions > 0 for unit in units)} units")
    passed, err, skipped = (sum(unit.count(kind) for unit in units) for kind in ("ok", "err", "skip"))
    print(
        f"\nTOTAL: {passed} passed, {err} failed, {skipped} skipped in {len(units)} units,"
        f" {len(incomplete)} of them not completed; {seconds:.0f} s"
    )


def _cell(text):
    return text.replace("\t", " ").replace("\n", " ")


def write_tables(units, directory):
    """units.tsv (unit, status, passed, failed, skipped, seconds) and tests.tsv (unit, outcome, test, detail)."""
    with open(os.path.join(directory, "units.tsv"), "w") as table:
        table.write("unit\tstatus\tpassed\tfailed\tskipped\tseconds\n")
        for unit in units:
            counts = "\t".join(str(unit.count(kind)) for kind in ("ok", "err", "skip"))
            table.write(f"{unit.name}\t{unit.status}\t{counts}\t{unit.seconds}\n")
    with open(os.path.join(directory, "tests.tsv"), "w") as table:
        table.write("unit\toutcome\ttest\tdetail\n")
        for unit in units:
            for test in unit.tests:
                table.write(f"{unit.name}\t{test.outcome}\t{_cell(test.name)}\t{_cell(test.detail)}\n")
