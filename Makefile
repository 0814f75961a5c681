# `make run` watches the httpd of this host, or a private one if none runs; `make test` runs every
# test; both install what they need. `make help` lists the rest.

CARGO ?= cargo
# Options of `gracekeeper run` and `gracekeeper demo`, such as --web.listen-address=:10117.
ARGS ?=
# How often `make soak` repeats, and for how long it fuzzes each decoder.
ROUNDS ?= 20
FUZZ_SECONDS ?= 60

FUZZ_TARGETS = $(notdir $(basename $(wildcard tests/fuzz/corpus/*)))
PROGRAM = $${CARGO_TARGET_DIR:-target}/release/gracekeeper

.DEFAULT_GOAL := help
.PHONY: help run test lint bench soak readme packages

help: ## lists the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: ## builds, and watches the httpd that runs here, else one of its own; installs httpd if there is none
	@.ci/packages httpd
	$(CARGO) build --release --locked --bin gracekeeper
	@command=run; \
	if ! grep -qsxE 'apache2|httpd' /proc/[0-9]*/comm; then \
		command=demo; \
		echo; echo "No httpd runs here: this is a demonstration with a private one."; \
	fi; \
	echo; echo "Metrics are at http://127.0.0.1:10117/metrics unless ARGS say otherwise; Ctrl-C ends."; echo; \
	if [ "$$(id -u)" != 0 ] && command -v sudo > /dev/null && sudo -n true 2> /dev/null; then \
		exec sudo -n "$(PROGRAM)" "$$command" $(ARGS); \
	fi; \
	[ "$$(id -u)" = 0 ] || echo "Without root the scoreboard of another user's httpd stays unseen."; \
	exec "$(PROGRAM)" "$$command" $(ARGS)

test: packages lint ## lints, then runs every test; installs what that needs
	$(CARGO) test --locked --no-fail-fast --lib --bins --tests

packages:
	@.ci/packages tests

lint: ## formatting, clippy, documentation, alerts; dependencies too where cargo-deny is installed
	@$(CARGO) fmt --version > /dev/null 2>&1 || rustup component add rustfmt
	@$(CARGO) clippy --version > /dev/null 2>&1 || rustup component add clippy
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items --lib
	@if $(CARGO) deny --version > /dev/null 2>&1; then $(CARGO) deny check bans licenses sources; fi
	@for program in promtool amtool; do \
		command -v $$program > /dev/null || { \
			echo "the alerts cannot be checked without $$program: .ci/packages tests installs it"; exit 1; \
		}; \
	done
	promtool check config alerts/prometheus.example.yml
	promtool test rules alerts/gracekeeper.rules.test.yml
	amtool check-config alerts/alertmanager.example.yml

bench: packages ## measures how near gracekeeper's times are to what httpd did, and how fast it reads logs
	@.ci/packages bench
	$(CARGO) bench --locked --bench accuracy
	$(CARGO) bench --locked --bench error_log

soak: packages ## repeats the property tests and the live matrix ROUNDS times, then fuzzes
	@for round in $$(seq $(ROUNDS)); do \
		echo "round $$round of $(ROUNDS)"; \
		$(CARGO) test --locked --quiet --test tests -- tracker_laws scoreboard_dumps restarts || exit 1; \
	done
	@if $(CARGO) fuzz --version > /dev/null 2>&1; then \
		for target in $(FUZZ_TARGETS); do \
			$(CARGO) +nightly fuzz run --fuzz-dir tests/fuzz $$target -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
		done; \
	else echo "cargo-fuzz is not installed: the decoders were not fuzzed"; fi

readme: ## puts the table of metrics into README.md
	@table=$$(mktemp); \
	$(CARGO) run --locked --quiet -- metrics --markdown > "$$table" && \
	sed -i -e '/^<!-- metrics -->$$/,/^<!-- \/metrics -->$$/{//!d}' \
		-e "/^<!-- metrics -->$$/r $$table" README.md; \
	status=$$?; rm -f "$$table"; exit $$status
