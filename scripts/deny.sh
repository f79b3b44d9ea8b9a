#!/usr/bin/env bash
# Checks all dependencies with cargo-deny against deny.toml: licences, banned crates, sources, and, when the advisory
# database can be reached, known vulnerabilities. Installs cargo-deny into the cache directory when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

advisory_database=https://github.com/rustsec/advisory-db
tools=${XDG_CACHE_HOME:-$HOME/.cache}/larder/tools
export PATH="$PATH:$tools/bin"

if ! command -v cargo-deny >/dev/null; then
    echo "deny: installing cargo-deny into $tools (once; a few minutes)"
    # Built without optimisation: it runs for a second, and so it compiles in a fraction of the time.
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_TARGET_DIR="$tools/target" \
        cargo install --locked --root "$tools" cargo-deny
    rm -rf "$tools/target"
fi

# A build downloads what this platform needs; the check looks at the others' crates too.
cargo fetch --locked --quiet
cargo-deny --offline check licenses bans sources
if GIT_TERMINAL_PROMPT=0 timeout 30 git ls-remote "$advisory_database" HEAD >/dev/null 2>&1; then
    cargo-deny check advisories
else
    echo "deny: advisories SKIPPED: $advisory_database cannot be reached from here"
fi
