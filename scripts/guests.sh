#!/usr/bin/env bash
# Runs a cargo command on everything here that is a program for wasm32-wasip2, or a library of one:
#
#   scripts/guests.sh build --release --target wasm32-wasip2
#
# They are apart from the host's workspace, and share one target folder, target/guest (or
# guest/ in $CARGO_TARGET_DIR).
set -euo pipefail
cd "$(dirname "$0")/.."
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/guest
export CARGO_TARGET_DIR

command=$1
shift
for folder in std examples tests/guests; do
    # A folder is a workspace, or holds packages that each stand alone.
    for manifest in "$folder/Cargo.toml" "$folder"/*/Cargo.toml; do
        [ -e "$manifest" ] || continue
        cargo "$command" --manifest-path "$manifest" "$@"
        if [ "$manifest" = "$folder/Cargo.toml" ]; then break; fi
    done
done
