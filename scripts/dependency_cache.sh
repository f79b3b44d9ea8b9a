#!/usr/bin/env bash
# Keeps the compiled third-party crates outside the clone, so that a second clean clone does not compile them again.
#
#   scripts/dependency_cache.sh restore           fill an empty target directory from the cache
#   scripts/dependency_cache.sh save debug        after a build: put that profile's dependencies into the cache
#   scripts/dependency_cache.sh save release
#
# Why not one target directory for all clones: cargo tells the crates of two clones apart neither by path nor by
# content, only by modification time, so the second clone silently gets the first one's binary (seen, with cargo
# 1.95). Here each clone has its own target directory, and only crates from the registry are copied, never our own;
# cargo judges by their fingerprints what it can use, so a stale cache costs time and nothing else.
# ccache stays the second net: when Cargo.lock changes, RocksDB's C++ still comes from there.
#
# The cache is $XDG_CACHE_HOME/larder/dependencies (~/.cache by default); deleting it is always safe.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/larder/dependencies
target=${CARGO_TARGET_DIR:-target}
kept_versions=3

# One cache entry for each compiler and set of dependencies.
key() {
    { rustc -Vv; cat Cargo.lock .cargo/config.toml; printf '%s' "${RUSTFLAGS:-}"; sed -n '/^\[profile/,/^$/p' Cargo.toml; } |
        sha256sum | cut -c 1-16
}

# A regular expression for the artifacts of our own crates, which must not be shared.
own_crates() {
    cargo tree --offline --workspace --depth 0 --prefix none 2>/dev/null | awk 'NF {print $1}' | sort -u |
        while read -r name; do printf '%s|%s|' "$name" "${name//-/_}"; done
}

restore() {
    local newest profile
    newest=$(key)
    [[ -d $cache/$newest ]] || newest=$(ls -t "$cache" 2>/dev/null | grep -v '^unfinished' | head -n 1 || true)
    [[ -n $newest ]] || return 0
    for profile in debug release; do
        [[ -d $cache/$newest/$profile && ! -e $target/$profile/.fingerprint ]] || continue
        mkdir -p "$target"
        local unfinished=$target/unfinished-$profile.$$
        cp -a "$cache/$newest/$profile" "$unfinished"
        rm -rf "${target:?}/$profile"
        mv "$unfinished" "$target/$profile"
        echo "dependency cache: $profile restored from $cache/$newest"
    done
    touch "$cache/$newest"
}

save() { # PROFILE
    local entry unfinished own
    entry=$cache/$(key)
    [[ ! -d $entry/$1 && -d $target/$1/.fingerprint ]] || return 0
    own=$(own_crates)
    [[ -n $own ]] || return 0
    mkdir -p "$entry"
    unfinished=$cache/unfinished-$1.$$
    mkdir "$unfinished"
    # Fingerprints first: what they promise was complete before they were read, whoever builds at the same time.
    if (
        cd "$target/$1"
        find .fingerprint build -mindepth 1 -maxdepth 1
        find deps -maxdepth 1 \( -name '*.rlib' -o -name '*.rmeta' -o -name '*.so' \)
    ) | { grep -vE "^[^/]+/(lib)?(${own%|})-[^/]*$" || true; } |
        tar -C "$target/$1" --format=posix --exclude='*.o' -cf - -T - | tar -C "$unfinished" -xf - &&
        mv -T "$unfinished" "$entry/$1"; then
        echo "dependency cache: $1 saved to $entry"
    else
        rm -rf "$unfinished"
        echo "dependency cache: $1 not saved (another build was writing); the next build will" >&2
    fi
    ls -td "$cache"/*/ | tail -n +$((kept_versions + 1)) | xargs -r rm -rf
}

case ${1:-} in
restore) restore ;;
save) save "${2:?profile}" ;;
*)
    echo "usage: $0 restore | save debug | save release" >&2
    exit 2
    ;;
esac
