# `make` says what there is. Needs Rust, gcc, make and python3; what else is missing, .ci/bootstrap gets.

SHELL := /bin/bash
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= /etc/systemd/system
MANDIR ?= $(PREFIX)/share/man
DESTDIR ?=

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# a cmake that .ci/bootstrap had to bring
export PATH := $(CURDIR)/target/tools/bin:$(PATH)

PICTURE := src/cli/demo/demo.svg

.DEFAULT_GOAL := help
.PHONY: help demo picture test test-engine test-vllm faults bench build install deb test-deb clean bootstrap

help:
	@echo 'make demo         a gateway, simulated nodes and load on this machine: see it work (ARGS="..." go to `evenkeel demo`)'
	@echo 'make test         all checks and tests'
	@echo 'make test-engine  against real llama.cpp, which it compiles first: minutes (ARGS="record" shows what the engines send)'
	@echo 'make test-vllm    against real vLLM, from PyPI: 6 GB of disk and of memory, a quarter of an hour (ARGS="kill" runs some, "record" writes its traces)'
	@echo 'make faults       each way in which a node fails, and what its client sees (UPDATE=1 writes the table into tests/faults/README.md)'
	@echo 'make picture      records the demo for README.md: a minute (writes $(PICTURE))'
	@echo 'make bench        against nginx, HAProxy and a bare proxy: 50 minutes (ARGS="request chunk" runs some of it, --keep keeps it)'
	@echo 'make build        the release binary: $(TARGET)/release/evenkeel'
	@echo 'make deb          the Debian package of that binary: target/package/*.deb'
	@echo 'make test-deb     installs a package, of a debug build, in a Debian of its own, upgrades and removes it (needs root)'
	@echo 'make install      binary, config, systemd unit, man pages and completions: PREFIX=$(PREFIX) SYSCONFDIR=$(SYSCONFDIR) UNITDIR=$(UNITDIR) DESTDIR=$(DESTDIR)'
	@echo 'make clean        removes what was built'

bootstrap:
	@.ci/bootstrap

# The release binary: from nothing, the profile without link-time optimisation takes as long, and then `make build` again.
demo: build
	@$(TARGET)/release/evenkeel demo $(ARGS)

# Long enough for one crash and the return. It fails, as the demo does, if a client saw a failure.
picture: build
	@$(TARGET)/release/evenkeel demo --record $(PICTURE) --seconds 56

test: bootstrap
	@.ci/test

# UPDATE reaches the test through the environment.
faults: bootstrap
	@$(CARGO) test --locked --quiet --test faults -- --nocapture

test-engine: bootstrap
	@tests/engine/run $(ARGS)

test-vllm: bootstrap
	@tests/vllm/run $(ARGS)

bench: build
	@EVENKEEL=$(TARGET)/release/evenkeel tests/bench/run $(ARGS)

build: bootstrap
	@$(CARGO) build --locked --release

# A config that is there is kept.
install:
	@test -x $(TARGET)/release/evenkeel || { echo 'run `make build` first (as the user who has Rust)'; exit 1; }
	install -D -m 755 $(TARGET)/release/evenkeel $(DESTDIR)$(PREFIX)/bin/evenkeel
	@config=$(DESTDIR)$(SYSCONFDIR)/evenkeel/evenkeel.yaml; \
	if test -e $$config; then echo "kept: $$config"; else set -x; install -D -m 644 conf/evenkeel.yaml $$config; fi
	install -D -m 644 deploy/systemd/evenkeel.service $(DESTDIR)$(UNITDIR)/evenkeel.service
	$(TARGET)/release/evenkeel man --output $(DESTDIR)$(MANDIR)/man1
	install -d $(DESTDIR)$(PREFIX)/share/{bash-completion/completions,zsh/site-functions,fish/vendor_completions.d}
	$(TARGET)/release/evenkeel completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/evenkeel
	$(TARGET)/release/evenkeel completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_evenkeel
	$(TARGET)/release/evenkeel completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/evenkeel.fish

# Signing it, and a repository for apt, are the operator's.
deb: build
	@.ci/bootstrap cargo-deb
	@deploy/debian/build $(TARGET)/release/evenkeel

test-deb: bootstrap
	@.ci/test package

clean:
	$(CARGO) clean
	rm -rf target/tools
