# Every target works on a fresh Debian or Ubuntu with git, curl, make and Rust: what is missing is installed first
# (scripts/setup.sh), and compiled dependencies are kept outside the clone (ccache, scripts/dependency_cache.sh).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# Extra flags for every cargo call that builds, e.g. CARGO_FLAGS=--locked.
CARGO_FLAGS ?=
# Extra arguments: for the server (make run), the tests (make test) or the benchmark (make bench).
ARGS ?=
PORT ?= 6379
DATA ?= larder-data
# For `make fuzz`: seconds for each fuzzed format, random cases for each property (a plain `make test` runs 256).
SECONDS_EACH ?= 60
CASES ?= 5000

TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
# .cargo/config.toml asks for ccache. Where it could not be installed, fall back to the plain compilers.
# Expanded when a recipe runs, so after `setup` had its chance.
BUILD = $(if $(shell command -v ccache),,env CC=gcc CXX=g++) $(CARGO)

# For `make tcl`: a checkout of Redis or Valkey.
SUITE ?=

.PHONY: help setup setup-test build run test clients tcl lint format doc deny bench fuzz

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install the system packages that a build needs (asks sudo, does nothing when all is there)
	@scripts/setup.sh build

setup-test:
	@scripts/setup.sh build test
	@scripts/setup.sh clients || [[ "$${CI:-}" != true ]]

build: setup ## Build the release binaries larder and larderctl
	@scripts/dependency_cache.sh restore
	$(BUILD) build --workspace --release $(CARGO_FLAGS)
	@scripts/dependency_cache.sh save release

run: build ## Build, then serve on 127.0.0.1:PORT (6379) with the data in DATA (./larder-data)
	@mkdir -p $(DATA)
	exec $(TARGET_DIR)/release/larder --bind 127.0.0.1 --port $(PORT) --dir $(DATA) $(ARGS)

test: setup-test ## Run the whole test suite (ARGS='name' runs the Rust tests whose names hold it, and nothing else)
	@scripts/dependency_cache.sh restore
	$(BUILD) test --workspace --no-run $(CARGO_FLAGS)
	@scripts/dependency_cache.sh save debug
	$(BUILD) test --workspace $(CARGO_FLAGS) $(ARGS)
	$(if $(ARGS),,python3 tests/clients/run.py --binary $(TARGET_DIR)/debug/larder)

clients: setup-test ## Run the scenarios of real client libraries only (ARGS='--languages go,node --memory tiny', '--help')
	@scripts/dependency_cache.sh restore
	$(BUILD) build --bin larder $(CARGO_FLAGS)
	python3 tests/clients/run.py --binary $(TARGET_DIR)/debug/larder $(ARGS)

tcl: build ## Run the Tcl suite of a Redis or Valkey checkout (SUITE=PATH ARGS='--profile full unit/type/list', '--help')
	@scripts/setup.sh tcl
	@[[ -n "$(SUITE)" ]] || { echo "tcl: which checkout of Redis or Valkey? make tcl SUITE=PATH" >&2; exit 2; }
	python3 tests/tcl/run.py "$(SUITE)" --binary $(TARGET_DIR)/release/larder --output $(TARGET_DIR)/tcl $(ARGS)

lint: setup ## Check formatting, then clippy with warnings as errors
	@scripts/dependency_cache.sh restore
	@$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
	$(CARGO) fmt --all --check
	$(BUILD) clippy --workspace --all-targets $(CARGO_FLAGS) -- -D warnings

format: ## Format all the Rust code
	$(CARGO) fmt --all

doc: setup ## Build the API documentation with warnings as errors
	@scripts/dependency_cache.sh restore
	RUSTDOCFLAGS="-D warnings" $(BUILD) doc --workspace --no-deps --document-private-items $(CARGO_FLAGS)

deny: setup ## Check licences, sources and advisories of all dependencies (cargo-deny)
	@scripts/deny.sh

bench: build ## Compare with redis-server and Valkey (ARGS='--quick', '--markdown FILE', '--help')
	@scripts/setup.sh bench
	python3 benches/side_by_side/run.py --larder $(TARGET_DIR)/release/larder $(ARGS)

fuzz: setup-test ## Fuzz the file formats and the protocol (SECONDS_EACH=60), then every property with more random cases (CASES=5000)
	@scripts/dependency_cache.sh restore
	LARDER_FUZZ_SECONDS=$(SECONDS_EACH) $(BUILD) test --release -p storage-format $(CARGO_FLAGS) fuzzing
	LARDER_FUZZ_SECONDS=$(SECONDS_EACH) $(BUILD) test --test integration $(CARGO_FLAGS) fuzz_smoke
	PROPTEST_CASES=$(CASES) $(BUILD) test --workspace $(CARGO_FLAGS) $(ARGS)
