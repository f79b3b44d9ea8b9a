#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that Larder needs and this machine lacks; silent and fast when all are there.
#
#   scripts/setup.sh build          compile Larder: C++ compiler, libclang (RocksDB's bindings), ccache
#   scripts/setup.sh test           run the tests: redis-server to compare with, redis-cli
#   scripts/setup.sh clients        run the scenarios of real clients: Python 3, Node, Go, Java and Maven
#   scripts/setup.sh tcl            run the Tcl suites of Redis and Valkey: tclsh, Python 3
#   scripts/setup.sh bench          run the benchmark: the tests' programs and Python 3
#
# Installing redis-server starts no service and enables none: the tests start their own on free ports.
set -euo pipefail

missing=()
need_command() { # COMMAND PACKAGE
    command -v "$1" >/dev/null || missing+=("$2")
}

# Names that stand for a package which only the package lists tell; resolve_package has them.
NPM='npm' JDK_17='jdk-17-or-newer'

have_jdk_17() {
    local version
    version=$(javac -version 2>&1) || return 1
    version=${version#javac }
    [[ ${version%%.*} -ge 17 ]]
}

# NodeSource's nodejs brings npm and refuses the distribution's; the default JDK of some releases is too old.
resolve_package() { # NAME
    case $1 in
    "$NPM") apt-cache policy nodejs | grep 'Candidate:.*nodesource' >/dev/null || echo npm ;;
    "$JDK_17") apt-cache pkgnames openjdk- | grep -E '^openjdk-(1[7-9]|[2-9][0-9])-jdk-headless$' | sort -V | head -n 1 ;;
    *) echo "$1" ;;
    esac
}

have_libclang() {
    [[ -n ${LIBCLANG_PATH:-} ]] || compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null ||
        compgen -G '/usr/lib*/libclang*.so*' >/dev/null || compgen -G '/usr/lib/*-linux-gnu/libclang*.so*' >/dev/null
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# Runs apt-get with a policy that refuses to start services, unless the machine has a policy of its own.
install_without_starting_services() {
    local policy=/usr/sbin/policy-rc.d ours=
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        ours=yes
    fi
    local status=0
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" </dev/null || status=$?
    if [[ -n $ours ]]; then as_root rm -f "$policy"; fi
    return "$status"
}

for purpose in "${@:-build}"; do
    case $purpose in
    build)
        need_command gcc gcc
        need_command g++ g++
        need_command make make
        need_command ccache ccache
        have_libclang || missing+=(libclang-dev)
        [[ -e /usr/include/stdlib.h ]] || missing+=(libc6-dev)
        ;;
    test)
        need_command redis-server redis-server
        need_command redis-cli redis-tools
        ;;
    clients)
        need_command python3 python3
        python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
        need_command node nodejs
        command -v npm >/dev/null || missing+=("$NPM")
        need_command go golang-go
        have_jdk_17 || missing+=("$JDK_17")
        need_command mvn maven
        ;;
    tcl)
        need_command python3 python3
        need_command tclsh tcl
        need_command redis-cli redis-tools
        ;;
    bench)
        need_command redis-server redis-server
        need_command redis-benchmark redis-tools
        need_command taskset util-linux
        need_command python3 python3
        python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
        ;;
    *)
        echo "setup: unknown purpose '$purpose' (build, test, clients, tcl, bench)" >&2
        exit 2
        ;;
    esac
done

if ! command -v cargo >/dev/null; then
    echo "setup: Rust is missing. Install it from https://rustup.rs, open a new shell and try again." >&2
    exit 1
fi
[[ ${#missing[@]} -eq 0 ]] && exit 0

if ! command -v apt-get >/dev/null; then
    echo "setup: this machine has no apt-get; install what these Debian packages hold: ${missing[*]}" >&2
    exit 1
fi
if [[ $(id -u) -ne 0 ]] && ! command -v sudo >/dev/null; then
    echo "setup: missing packages and no sudo; as root run: apt-get install ${missing[*]}" >&2
    exit 1
fi
echo "setup: installing ${missing[*]} (apt-get)"
as_root apt-get update -q </dev/null
packages=()
for name in "${missing[@]}"; do
    mapfile -t -O "${#packages[@]}" packages < <(resolve_package "$name")
done
install_without_starting_services "${packages[@]}"
if [[ " ${missing[*]} " == *" redis-server "* && -d /run/systemd/system ]]; then
    as_root systemctl disable redis-server.service
fi
echo "setup: done"
