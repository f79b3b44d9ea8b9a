"""How the scenarios of each language are installed, built and started.

Libraries come from the language's own registry by its own tool, pinned by a lock file; they and all that is built stay
in the cache directory ($LARDER_CACHE, $XDG_CACHE_HOME/larder or ~/.cache/larder) or in a temporary one, never here.
"""

import hashlib
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
INSTALL_SECONDS = 600
# So many sets of libraries are kept for each language; the least recently used ones go.
KEPT_SETS = 3


class Missing(Exception):
    """A tool of the language is not installed, or is too old."""


class Broken(Exception):
    """Installing or building failed."""


def cache_directory():
    """Where libraries are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(os.environ.get("LARDER_CACHE") or os.path.join(base, "larder"), "clients")


def run(command, directory=HERE, **environment):
    """Runs a tool; its output is shown only if it fails."""
    try:
        result = subprocess.run(
            command, cwd=directory, env={**os.environ, **environment}, timeout=INSTALL_SECONDS, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise Missing(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise Broken(f"{' '.join(command)} took longer than {INSTALL_SECONDS} s") from error
    if result.returncode != 0:
        raise Broken(f"{' '.join(command)} failed:\n{result.stdout[-4000:]}")
    return result.stdout


def need(tool, *version_command, at_least=()):
    """Raises Missing unless the tool is there and new enough."""
    if shutil.which(tool) is None:
        raise Missing(f"{tool} is not installed")
    if at_least:
        text = run([tool, *version_command])
        digits = "".join(letter if letter.isdigit() else " " for letter in text).split()
        if tuple(int(digit) for digit in digits[: len(at_least)]) < at_least:
            raise Missing(f"{tool} {'.'.join(map(str, at_least))} or newer is needed; there is: {text.strip()}")


def installed(language, lock_files, install, kind=""):
    """The directory in which `install` put the libraries that these files name; it is filled once."""
    content = hashlib.sha256(kind.encode())
    for name in lock_files:
        with open(os.path.join(HERE, language, name), "rb") as file:
            content.update(file.read())
    place = os.path.join(cache_directory(), f"{language}-{content.hexdigest()[:16]}")
    if not os.path.isdir(place):
        unfinished = f"{place}.unfinished-{os.getpid()}"
        os.makedirs(unfinished)
        try:
            install(unfinished)
            os.rename(unfinished, place)
        except OSError:
            # Another run was faster.
            if not os.path.isdir(place):
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    os.utime(place)
    others = [name for name in os.listdir(cache_directory()) if name.startswith(f"{language}-") and "unfinished" not in name]
    others = sorted((os.path.join(cache_directory(), name) for name in others), key=os.path.getmtime, reverse=True)
    for old in others[KEPT_SETS:]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def python(_):
    """redis-py and RQ, in a virtual environment."""
    need("python3", "--version", at_least=(3, 10))
    source = os.path.join(HERE, "python")

    def install(place):
        run(["python3", "-m", "venv", place])
        pip = [os.path.join(place, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--require-hashes", "-r", os.path.join(source, "requirements.txt")])

    version = run(["python3", "-c", "import sys; print(sys.base_prefix, sys.version)"])
    place = installed("python", ["requirements.txt"], install, version)
    return [os.path.join(place, "bin", "python"), "-B", os.path.join(source, "main.py")], {}


def node(_):
    """ioredis, node-redis, BullMQ and the middlewares, by npm ci."""
    need("node", "--version", at_least=(18,))
    need("npm")
    source = os.path.join(HERE, "node")

    def install(place):
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(source, name), place)
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], place)

    place = installed("node", ["package-lock.json"], install)
    return ["node", os.path.join(source, "main.js")], {"NODE_PATH": os.path.join(place, "node_modules")}


def go(build):
    """go-redis, redis_rate and asynq, as Go modules."""
    need("go")
    version = run(["go", "env", "GOVERSION"]).strip().removeprefix("go")
    if tuple(int(part) for part in version.split(".")[:2]) < (1, 19):
        raise Missing(f"go 1.19 or newer is needed; there is {version}")
    program = os.path.join(build, "go-scenarios")
    run(["go", "build", "-o", program, "."], os.path.join(HERE, "go"), GOFLAGS="-mod=readonly")
    return [program], {}


def java(build):
    """Jedis and Lettuce: Maven brings the jars, whose hashes are checked, and javac compiles."""
    need("javac", "-version", at_least=(17,))
    source = os.path.join(HERE, "java")

    def install(place):
        need("mvn")
        goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
        run(["mvn", "--batch-mode", "--quiet", "-f", os.path.join(source, "pom.xml"), goal, f"-DoutputDirectory={place}"])
        run(["sha256sum", "--check", "--strict", "--quiet", os.path.join(source, "jars.sha256")], place)

    jars = os.path.join(installed("java", ["pom.xml", "jars.sha256"], install), "*")
    classes = os.path.join(build, "java-classes")
    sources = [os.path.join(source, name) for name in sorted(os.listdir(source)) if name.endswith(".java")]
    run(["javac", "-Xlint:all,-processing", "-Werror", "--release", "17", "-cp", jars, "-d", classes, *sources])
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}{os.pathsep}{jars}", "Main"], {}


LANGUAGES = {"node": node, "go": go, "python": python, "java": java}
