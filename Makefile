# make run    the kernel on a node of your own; standard input and output are the kernel's
# make test   everything that can be tested here, and a table of what ran
# make help   the rest

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
WW := $(TARGET_DIR)/debug/ww

.DEFAULT_GOAL := help
.PHONY: help run build setup guests parts test lint bench schema clean

# Nothing but the kernel may read standard input or write standard output.
run: build
	@$(WW) build std/kernel </dev/null >&2
	@$(WW) run std/kernel --grant host

help:
	@echo 'make run     boot std/kernel; reads commands from standard input'
	@echo 'make build   the ww program, at $(WW)'
	@echo 'make setup   install the guest target, wasm32-wasip2'
	@echo 'make guests  build std, the examples and the guests of the tests'
	@echo 'make parts   install what the tests run against'
	@echo 'make test    run all tests'
	@echo 'make lint    formatting, clippy, dependencies'
	@echo 'make bench   measure, and print the tables'
	@echo 'make schema  generate the Cap'"'"'n Proto and WIT bindings afresh'
	@echo 'make clean   delete what was built'

setup:
	@scripts/wasm-target.sh </dev/null >&2

build: setup
	@cargo build </dev/null >&2

guests: setup
	@scripts/guests.sh build --release --target wasm32-wasip2

parts:
	@scripts/parts.sh

test:
	@scripts/test.sh

lint: setup
	@scripts/lint.sh

bench: setup
	@cargo bench --quiet --package vat --bench calls
	@cargo bench --quiet --package membrane --bench membrane
	@cargo bench --quiet --package content --bench content
	@cargo bench --quiet --package ww --bench table

schema:
	@cargo run --quiet --package schema --example generate
	@cargo run --quiet --package vat --example generate_protocol
	@cargo run --quiet --manifest-path std/Cargo.toml --target-dir $(TARGET_DIR)/guest --package runtime --example bindings

clean:
	@cargo clean
	@rm -rf std/target examples/*/target tests/guests/target templates/*/target
