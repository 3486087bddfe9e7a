# Osier. The two commands for a newcomer: `make demo` and `make test`.
# Build products are shared between checkouts; set CARGO_TARGET_DIR to put them elsewhere.
SHELL := /bin/bash
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/osier/target
export CARGO_TERM_PROGRESS_WHEN ?= auto
CARGO := cargo
DEMO_OUT ?= $(CARGO_TARGET_DIR)/demo

# Tests that run the binary use the one that `cargo test` itself builds; without OSIER_BINARY each builds it anew.
test: export OSIER_BINARY = $(CARGO_TARGET_DIR)/debug/osier
.PHONY: help demo test targets bench soak lint fmt build desktop desktop-test mobile-test install-tools clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install-tools: ## install the Debian packages that tests and demo use (apt; asks for root)
	@tests/install-tools

build: ## build the osier binary (release): $(CARGO_TARGET_DIR)/release/osier
	$(CARGO) build --locked --release -p osier-cli

demo: install-tools ## a real mesh of 8 nodes that heals before your eyes (no root needed)
	$(CARGO) build --locked -p osier-cli -p osier-e2e
	@$(CARGO_TARGET_DIR)/debug/osier-demo --out $(DEMO_OUT)

test: install-tools ## every test: desktop app, unit, simulation, conformance, fuzz corpus, registries, namespaces, real babeld, BIRD and FRR
	@$(CARGO) build --locked -p osier-cli
	@failed=; \
	$(MAKE) --no-print-directory desktop-test || failed="$$failed desktop-test"; \
	$(CARGO) test --locked --workspace --exclude osier-desktop --exclude osier-desktop-mock --no-fail-fast || failed="$$failed cargo-test"; \
	[[ -z $$failed ]] || { echo "FAILED:$$failed" >&2; exit 1; }

desktop-test: ## the tests of the desktop app, with a real window under Xvfb; installs WebKitGTK (ONLY=FILE: one file of them)
	@desktop/install-tools
	desktop/test $(ONLY)

mobile-test: ## the phones' bindings: Kotlin on a JVM with a real TUN device in a real mesh; installs a JDK and Maven (ARGS=-Dtest=CLASS)
	@android/install-tools
	android/test $(ARGS)

desktop: ## the .deb of the desktop app with the service, in the target folder; installs WebKitGTK
	@desktop/install-tools
	desktop/package-deb

targets: ## type-check for Windows, run Windows' parts under wine (see docs/platforms.md); installs Debian's rustc-web
	@tests/targets

soak: install-tools ## long explorations: 10 million Babel events, simulations over many seeds, libFuzzer on every parser
	tests/soak

bench: install-tools ## Osier beside its peers on this machine, as ratios; Babel at scale (BENCH=--quick: the peers alone, 5 minutes)
	$(CARGO) build --locked --release -p osier-cli -p osier-e2e -p osier-sim -p osier-babel-bench -p osier-peer-bench -p osier-crowd
	tests/bench $(BENCH)

lint: ## formatting, clippy without warnings, architecture rules; cargo-deny where it is installed; installs WebKitGTK
	@desktop/install-tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) test --locked -p osier-architecture
	@if command -v cargo-deny >/dev/null; then cargo deny check; else echo "cargo-deny is not installed: skipped (the licence list is checked by osier-architecture)"; fi

fmt: ## format all sources
	$(CARGO) fmt --all

clean: ## remove build products
	$(CARGO) clean
