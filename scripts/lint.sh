#!/usr/bin/env bash
# Formatting, clippy and the dependency rules, for the host and for every guest; fails at the first
# complaint.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "lint: $*" >&2; }

say formatting
cargo fmt --all --check
scripts/guests.sh fmt --all --check
# A template is no package yet: its manifest has a placeholder for the name.
find templates -name target -prune -o -name '*.rs' -exec rustfmt --check {} +

say clippy
cargo clippy --workspace --all-targets --quiet -- -D warnings
scripts/guests.sh clippy --quiet --target wasm32-wasip2 -- -D warnings

if command -v cargo-deny >/dev/null; then
    say dependencies
    cargo deny --log-level error check
else
    say 'dependencies not checked: cargo install cargo-deny --locked'
fi
