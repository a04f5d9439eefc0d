#!/usr/bin/env bash
# Runs all tests, whatever fails on the way, and closes with a table of what ran and what did not.
set -uo pipefail
cd "$(dirname "$0")/.."

table=
failed=0

step() { # NAME COMMAND...
    local name=$1 began=$SECONDS result=passed
    shift
    echo "== $name: $*" >&2
    "$@" || { result=FAILED; failed=1; }
    table+=$(printf '%-28s %-8s %4d s' "$name" "$result" $((SECONDS - began)))$'\n'
}

step 'guest target' scripts/wasm-target.sh
step 'parts' scripts/parts.sh
step 'guests' scripts/guests.sh build --release --target wasm32-wasip2
step 'host: all tests' cargo test --workspace --no-fail-fast
step 'std: tests on the host' cargo test --manifest-path std/Cargo.toml --workspace \
    --target-dir "${CARGO_TARGET_DIR:-target}/guest" --no-fail-fast

parts=$(scripts/parts.sh --list | while IFS=$'\t' read -r name state; do
    if [ "$state" = here ]; then state=here; else state="not run: $state"; fi
    printf '%-28s %s\n' "part: $name" "$state"
done)
printf '\n%s%s\n' "$table" "$parts" >&2
exit $failed
