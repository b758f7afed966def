# What people and the CI run; `make` lists it. The image is image/build's, the rack is tests/rack.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory

MACHINES ?= 3
MEMORY ?= 1024
FIRMWARE ?= bios,uefi,http
APPROVE ?= ticket
STAY ?=
ROUNDS ?= 3
ONLY ?=
PREFIX ?= /usr
DESTDIR ?=

# Caches lie outside the checkout.
XDG_CACHE_HOME ?= $(HOME)/.cache
export MEADOW_CACHE ?= $(XDG_CACHE_HOME)/meadow
export CARGO_TARGET_DIR ?= $(MEADOW_CACHE)/target
export MEADOW_BIN := $(CARGO_TARGET_DIR)/release
export MEADOW_IMAGE := $(CURDIR)/target/image

# Namespaces, machines and the image need root. sudo keeps the caches where they are.
KEEP := HOME='$(HOME)' PATH="$$PATH" MEADOW_CACHE='$(MEADOW_CACHE)' MEADOW_BIN='$(MEADOW_BIN)' MEADOW_IMAGE='$(MEADOW_IMAGE)'
ROOT := $(if $(filter 0,$(shell id -u)),,sudo env $(KEEP))
STAGE := tests/make/stage
STATIC := x86_64-unknown-linux-gnu
INIT := $(CARGO_TARGET_DIR)/$(STATIC)/release/meadow-init
# The image's programs must not need a newer C library than Debian 13's: where the host's is newer, image/build runs
# cargo inside its tools tree.
CARGO := $(if $(shell printf '%s\n2.41\n' "$$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)" | sort -VC && echo old),cargo,$(ROOT) image/build cargo)

# What `make clean` removes of the cache: by name, so that a wrong MEADOW_CACHE costs nobody anything else.
CACHED := archive firmware grub image initrd initrd-base kernel locks logs modules packages rack root root-modules stages target toolchain tools uki zfs

.PHONY: help run image build test verify fix bench soak install uninstall clean prerequisites packages programs image-base image-variants reproducible

help: ## List what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Variables of run: MACHINES=$(MACHINES) MEMORY=$(MEMORY) FIRMWARE=$(FIRMWARE) APPROVE=ticket|ask STAY=yes|no'

run: image ## Boot blank virtual machines over the network until they are nodes
	@$(ROOT) $(MEADOW_BIN)/meadow-rack run --machines '$(MACHINES)' --memory '$(MEMORY)' --firmware '$(FIRMWARE)' \
	  --approve '$(APPROVE)' $(if $(STAY),--stay '$(STAY)')

image: packages ## Build the image that machines boot, into target/image
	@$(MAKE) -j2 build image-base
	@$(STAGE) image $(ROOT) image/build all --bin-dir '$(MEADOW_BIN)' --init '$(INIT)' --out target/image

# What of the image needs no program of ours, beside their build.
image-base: packages
	@$(STAGE) image-base $(ROOT) image/build base

build: packages ## Build the programs
	@$(STAGE) programs $(MAKE) programs

programs:
	@$(CARGO) build --release --locked --workspace --exclude meadow-bench-suite --exclude meadow-init --bins
	@$(CARGO) rustc --release --locked -p meadow-init --bin meadow-init --target $(STATIC) -- -C target-feature=+crt-static

# The image once more, elsewhere: the same inputs give the same bytes.
reproducible:
	@$(ROOT) tests/make/reproducible '$(INIT)'

# Images that the tests update nodes to.
image-variants:
	@$(ROOT) tests/make/image-variants '$(INIT)'

test: packages ## Run all tests, quick ones first
	@tests/packages/install-packages test.list
	@tests/make/test

verify: packages ## Check format, lints, docs, dependencies, licences and scripts; changes nothing
	@tests/packages/install-packages test.list
	@tests/make/verify

fix: prerequisites ## Format the code and apply what the linters propose
	@cargo clippy --release --workspace --all-targets --fix --allow-dirty --allow-staged
	@cargo fmt

bench: image image-variants ## Measure what docs/specification.md publishes
	@$(ROOT) env CARGO_TARGET_DIR='$(CARGO_TARGET_DIR)' ROUNDS='$(ROUNDS)' ONLY='$(ONLY)' tests/make/bench

soak: packages image image-variants ## The long tests: cold caches, many boots, many cases (SOAK_ROUNDS, CASES, RACKS, COLD=no)
	@tests/packages/install-packages test.list
	@$(ROOT) env CARGO_TARGET_DIR='$(CARGO_TARGET_DIR)' ROUNDS='$(SOAK_ROUNDS)' CASES='$(CASES)' RACKS='$(RACKS)' COLD='$(COLD)' \
	  MACHINES='$(MACHINES)' tests/make/soak '$(INIT)'

install: image ## Put meadow, meadowd and the image on this host
	@$(ROOT) tests/make/install '$(DESTDIR)' '$(PREFIX)'

uninstall: ## Remove what install has put there; keeps the cluster's state
	@$(ROOT) tests/make/uninstall '$(DESTDIR)' '$(PREFIX)'

clean: ## Remove what was built; keeps the keys in ~/.config/meadow
	@$(ROOT) rm -rf target $(foreach part,$(CACHED),'$(MEADOW_CACHE)/$(part)')

prerequisites:
	@tests/make/prerequisites
	@tests/make/claim-target

packages: prerequisites
	@$(STAGE) packages tests/packages/install-packages run.list
