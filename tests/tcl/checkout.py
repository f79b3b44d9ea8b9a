"""A private working copy of a Redis or Valkey checkout, so that its Tcl suite can run beside other runs.

The suite keeps its scratch files inside the checkout (tests/tmp) and expects built programs in src/. The copy is a
directory of links: only tests/ is copied, and src/ has links to the installed command-line tools that the suite calls.
"""

import os
import re
import shutil
import subprocess
import tempfile

# Started with these in src/, as if they had been built there.
PROGRAMS = ("redis-cli", "redis-benchmark", "valkey-cli", "valkey-benchmark")


class CheckoutFailed(Exception):
    """The path given is no checkout with a suite."""


class Checkout:
    """A copy of the checkout at `path`; `remove` it in the end."""

    def __init__(self, path, without_functions=False):
        self.source = os.path.realpath(path)
        if not os.access(os.path.join(self.source, "runtest"), os.X_OK):
            raise CheckoutFailed(f"{path}: no program 'runtest' there; this must be a checkout of Redis or Valkey")
        self.path = tempfile.mkdtemp(prefix="larder-tcl-")
        for name in os.listdir(self.source):
            if name not in ("tests", "src", ".git"):
                os.symlink(os.path.join(self.source, name), os.path.join(self.path, name))
        shutil.copytree(
            os.path.join(self.source, "tests"), os.path.join(self.path, "tests"), ignore=shutil.ignore_patterns("tmp")
        )
        os.makedirs(os.path.join(self.path, "tests", "tmp"))
        self._link_sources()
        if without_functions:
            self._leave_functions_alone()

    def _link_sources(self):
        os.mkdir(os.path.join(self.path, "src"))
        for name in os.listdir(os.path.join(self.source, "src")):
            os.symlink(os.path.join(self.source, "src", name), os.path.join(self.path, "src", name))
        for program in PROGRAMS:
            place = os.path.join(self.path, "src", program)
            installed = shutil.which(program) or shutil.which(program.replace("valkey", "redis"))
            if installed and not os.path.lexists(place):
                os.symlink(installed, place)

    def _leave_functions_alone(self):
        """The suite calls FUNCTION FLUSH before each group of tests; lets that fail on a server without functions."""
        place = os.path.join(self.path, "tests", "support", "server.tcl")
        with open(place) as file:
            text = file.read()
        with open(place, "w") as file:
            file.write(re.sub(r"^( *)r function flush$", r"\1catch {r function flush}", text, flags=re.MULTILINE))

    def version(self):
        """The version of the server whose suite this is, such as "7.2.4"; empty if its sources do not tell."""
        try:
            with open(os.path.join(self.source, "src", "version.h")) as file:
                found = re.search(r'#define \w*_VERSION "([0-9.]+)"', file.read())
        except FileNotFoundError:
            return ""
        return found.group(1) if found else ""

    def units(self):
        """The names of all units, in the suite's order."""
        result = subprocess.run(
            ["./runtest", "--list-tests"], cwd=self.path, capture_output=True, text=True, timeout=60, check=False
        )
        if result.returncode != 0:
            raise CheckoutFailed(f"{self.source}: runtest --list-tests failed: {result.stdout}{result.stderr}")
        return list(dict.fromkeys(result.stdout.split()))

    def remove(self):
        """Removes the copy."""
        shutil.rmtree(self.path, ignore_errors=True)
