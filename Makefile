# What people run. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
ARGS ?=
# Everything that only tests run is built once, with one set of features: what they let go wrong is in no other build.
TESTS := --workspace --features fault-injection
# The server that tests start. Beside a test, because only then have its dependencies the features that tests ask for: otherwise all that
# stands on tokio is built twice.
SERVER := $(TESTS) --bin malote --test tidy

# What `make coverage` looks at: everything that a webhook meets before it is an event.
WEBHOOKS := domain/src/signature.rs domain/src/hop.rs domain/src/webhook.rs src/webhooks/* src/relay/* src/relay/spool/*
COVERAGE_LEAST ?= 90
FUZZ_SECONDS ?= 120

# What `make nightly` runs; drills leave evidence of their own. The hosted workflow has the same parts (tests/tidy/gate.rs).
NIGHTLY := chaos mutants alert-mutants contract coverage fuzz latency limit openbao rotation previous bench reconcile-million gate-trial loss-drill rolling-restart licences
DRILLS := restore-drill rollback-drill

.PHONY: help demo test lint alerts alert-mutants unit e2e coverage fuzz chaos latency mutants limit openbao rotation previous bench reconcile-million openapi contract stack drill restore-drill deploy-check deb loss-drill rolling-restart rollback-drill licences evidence evidence-earlier gate gate-trial nightly

help: ## this list
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

demo: stack ## the main job end to end; ARGS=--exit ends by itself, 0 only if all adds up
	cargo build --release --bin malote
	eval "$$(dev/stack env)"; target/release/malote demo $(ARGS)

test: lint unit e2e ## what every change must pass
	$(MAKE) chaos ARGS=--short

lint: alerts ## form, lints, documentation, the repository's rules
	cargo fmt --all --check
	cargo clippy $(TESTS) --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet
	cargo test $(TESTS) --test tidy
	cargo build $(SERVER)
	target/debug/malote migrate lint
	dev/lint-migrations
	dev/tool check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	dev/deploy-check
	dev/tool python dev/incidents --self-test
	dev/check-api --self-test
	dev/check-api
	target/debug/malote openapi | diff - docs/openapi.json || { echo 'docs/openapi.json is stale: make openapi' >&2; exit 1; }

alerts: ## rules, their unit tests, routes of notices, runbooks, dashboards; no server needed
	dev/ops check

alert-mutants: ## breaks each rule in each way; 0 only if its unit tests go red each time
	dev/ops mutate $(ARGS)

unit: ## unit and property tests; no server needed
	cargo test $(TESTS) --lib --bins --test actors --test it --test billing

e2e: stack ## migrations up, down, up; storage; the whole way on real servers
	cargo build $(SERVER)
	eval "$$(dev/stack env)"; dev/try-migrations
	eval "$$(dev/stack env)"; dev/migrate; cargo test $(TESTS) --test storage --test e2e

coverage: stack ## lines of the webhooks' code that tests run: fails below COVERAGE_LEAST percent, and prints the figure
	command -v cargo-tarpaulin > /dev/null || cargo install --locked cargo-tarpaulin
	eval "$$(dev/stack env)"; cargo tarpaulin --engine llvm --follow-exec --skip-clean --timeout 600 --target-dir target/coverage --out Stdout \
		$(TESTS) --lib --test e2e $(WEBHOOKS:%=--include-files '%') --fail-under $(COVERAGE_LEAST) -- webhook relay:: hop:: signature::

fuzz: ## what comes from outside, as a fuzzer would send it: FUZZ_SECONDS each; needs a nightly toolchain
	cargo fuzz --version > /dev/null 2>&1 || cargo install --locked cargo-fuzz
	for target in signature envelope csv; do \
		mkdir -p target/fuzz/$$target; \
		cargo +nightly fuzz run -s none $$target target/fuzz/$$target fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=65536 -print_final_stats=1; \
	done

chaos: ## breaks a stack of its own while campaigns run; 5 seeds, or ARGS='--seeds 1,2', or ARGS=--short
	dev/stack --instance chaos up --only postgresql,redis,rabbitmq
	eval "$$(dev/stack --instance chaos env)"; cargo test $(TESTS) --test chaos -- $(ARGS)

stack: ## PostgreSQL, Redis, RabbitMQ, Prometheus and Alertmanager of this checkout
	dev/stack up

contract: stack ## the whole API against its own document, every check of schemathesis
	cargo build $(SERVER)
	eval "$$(dev/stack env)"; dev/contract $(ARGS)

openapi: ## writes docs/openapi.json anew
	cargo build $(SERVER)
	target/debug/malote openapi > docs/openapi.json

mutants: stack ## breaks one guard at a time in a copy; 0 only if its test goes red each time
	eval "$$(dev/stack env)"; dev/mutants $(ARGS)

latency: stack ## a single message beside a campaign of 100,000: 0 only if its p99 is below the goal
	eval "$$(dev/stack env)"; cargo bench --bench latency -- $(ARGS)

limit: stack ## 40 campaigns and two nodes push 50,000 messages against a hard plan of 10,000: exactly 10,000 leave
	eval "$$(dev/stack env)"; cargo test $(TESTS) --test limit -- --nocapture

openbao: ## secrets from a real OpenBao: token, AppRole, renewal, the store away
	dev/tool bao version
	cargo test $(TESTS) --test openbao

rotation: ## every secret changed under 200 requests a second, on servers of its own: 0 failed requests
	cargo test $(TESTS) --no-run --test rotation
	dev/stack --instance rotation up --only postgresql,redis,rabbitmq
	eval "$$(dev/stack --instance rotation env)"; cargo test $(TESTS) --test rotation -- --nocapture
	dev/stack --instance rotation down --purge

previous: stack ## the program before an expansion, on the expanded schema and beside the present one, until the contract
	dev/previous
	cargo build $(SERVER)
	eval "$$(dev/stack env)"; export MALOTE_STACK_TOKEN_KEYS="$$MALOTE_SECRETS__TOKEN_KEYS_FILE"; \
		unset MALOTE_SECRETS__TOKEN_KEYS_FILE; cargo test $(TESTS) --test previous

bench: stack ## speed as ratios to a bare loop, in one run
	eval "$$(dev/stack env)"; cargo bench --bench pipeline -- $(ARGS)
	cargo bench -p domain --bench hot

reconcile-million: stack ## full reconciliation of a million messages: 0 only under 60 s, with every planted fault named
	eval "$$(dev/stack env)"; cargo bench --bench reconcile -- $(ARGS)

drill: ## breaks a running installation in each way that alerts know, and measures who hears when; ARGS=--help explains, ARGS=--short takes two
	cargo build $(SERVER)
	dev/drill $(ARGS)

restore-drill: ## breaks a database under load, restores it to just before, proves it; evidence in docs/drills/
	cargo build --release --bin malote
	dev/restore-drill $(ARGS)

rollback-drill: ## back to the previous release under load: after an expand, a dead backfill, a contract; evidence in docs/drills/
	dev/previous
	cargo build --release --bin malote
	dev/rollback-drill $(ARGS)

licences: ## licences, bans and sources of everything that is built in (deny.toml)
	dev/tool cargo-deny check licenses bans sources

deploy-check: ## Dockerfile, compose file, manifests, units and scripts, without starting any
	dev/deploy-check

deb: ## the Debian package, in target/debian/; ARGS=--try also starts what is in it, as a user without rights
	dev/package $(ARGS)

loss-drill: ## loses RabbitMQ's whole disk, then Redis's, in the middle of a campaign: nothing lost, nothing doubled
	cargo build --release --bin malote
	dev/loss-drill $(ARGS)

rolling-restart: ## two nodes restarted in turn under load: 0 requests failed, 0 messages lost, 0 doubled
	cargo build --release --bin malote
	dev/rolling-restart $(ARGS)

evidence: ## `make test`, and leaves evidence of it for the go-live gate, which wants to see these very sources
	dev/evidence lint,unit,e2e,chaos make test

evidence-earlier: ## evidence that may be of an earlier commit of this history
	for part in coverage rotation mutants rolling-restart; do dev/evidence $$part make $$part; done
	$(MAKE) $(DRILLS)
	$(MAKE) drill

gate: ## the readiness table: 0 go, 1 no-go
	cargo build $(SERVER)
	target/debug/malote gate run

gate-trial: ## brings a copy to a go, then breaks each control in it, and sees no-go with its name each time
	cargo build $(SERVER)
	dev/try-gate

nightly: ## everything that takes longer, with evidence of each part
	dev/evidence lint,unit,e2e make test
	for part in $(NIGHTLY); do dev/evidence $$part make $$part; done
	$(MAKE) $(DRILLS)
	$(MAKE) drill ARGS=--short
