SHELL         := /bin/bash
.SHELLFLAGS   := -eu -o pipefail -c
.DEFAULT_GOAL := help

# A root's PATH often lacks these.
export PATH        := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin
export CGO_ENABLED := 0
# The version comes from the line below; asking git again fails in a checkout of another user.
export GOFLAGS     := $(GOFLAGS) -buildvcs=false

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PREFIX   ?= /usr/local
IMAGE    ?=
FUZZTIME ?= 10s
# The race detector is C code: without a C compiler the tests run without it.
RACE     ?= $(if $(shell command -v cc gcc),-race)
BENCH    ?=

# Without, "make build" shares its build cache with the tests; CI saves a minute by that.
TRIMPATH ?= -trimpath

GO       := go
GO_BUILD := $(GO) build -ldflags "-s -w -X main.version=$(VERSION)"
GO_TEST  := $(if $(RACE),env CGO_ENABLED=1) $(GO) test $(RACE) -shuffle=on

# These start programs and compare what they print: the race detector would watch the comparing, and take a minute for it.
# Much of the time is waiting, so there are more packages at once than usual.
DRIVERS := ./test ./test/lab ./test/faults

LINT_VERSION := v2.15.0
TOOLS        := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/minictr-tools
LINT         := $(TOOLS)/golangci-lint-$(LINT_VERSION)

.PHONY: help
help: ## Print this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The program of the host, whatever GOARCH says; and the architecture that is built for.
HOST_GO  := GOARCH= GOOS= $(GO)
ARCH     := $(or $(GOARCH),$(shell $(GO) env GOARCH))

# The layer of minictr/base, which minictr-image carries. Its files bear the time of the commit that changed it.
.PHONY: base
base:
	SOURCE_DATE_EPOCH=$(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct -- cmd/minictr-base rootfs/gen/base go.sum 2>/dev/null)) $(HOST_GO) run ./rootfs/gen/base $(ARCH) cmd/minictr-image/base/$(ARCH)

.PHONY: build
build: base ## Build the static binaries of cmd/* into bin/
	$(GO_BUILD) $(TRIMPATH) -o bin/ ./cmd/...

.PHONY: build-arm64
build-arm64: ## Check that everything, tests included, compiles for arm64
	dir=$$(mktemp -d); trap "rm -rf $$dir" EXIT; GOARCH=arm64 $(GO) build -o "$$dir" ./cmd/...
	GOARCH=arm64 $(GO) vet ./...

.PHONY: test
test: setup base ## Run all tests; those of the kernel need root and are skipped without
	$(GO) vet ./...
	$(GO) run ./test/report $(if $(CI),-allowed test/allowed-skips) sh -c '\
		$(GO_TEST) -p 3 -json -timeout 10m $$($(GO) list ./... | grep -Ev "/test(/lab|/faults)?$$") || rc=1; \
		$(GO) test -shuffle=on -p 3 -json -timeout 10m $(DRIVERS) || rc=1; exit $${rc:-0}'

.PHONY: setup
setup:
	@test/setup.sh test

.PHONY: test-vm
test-vm: build ## Run the kernel tests in a VM with pure cgroup v2 (VM_SHORT=1: a short form)
	test/vm/test.sh

.PHONY: bench
bench: build ## Compare with runc, crun, podman and what the kernel itself costs (root)
	@test/setup.sh bench
	$(GO) run ./test/bench $(BENCH)

.PHONY: demo
demo: build ## Run a container and show how it is made (root; IMAGE=archive for one of your own)
	@test/demo.sh $(IMAGE)

.PHONY: tools
tools: $(LINT)

.PHONY: lint
lint: $(LINT) ## Check the code with golangci-lint
	$(LINT) run ./...

.PHONY: fmt
fmt: $(LINT) ## Format the code (gofumpt, goimports)
	$(LINT) fmt ./...

$(LINT):
	@echo "building golangci-lint $(LINT_VERSION); this takes some minutes, once"
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(TOOLS)/golangci-lint $@

# FUZZTIME=300x counts inputs. A run that ends by the clock may fail with "context deadline
# exceeded" and no finding (https://go.dev/issue/75804).
# Finding a shorter input for each new one would take most of a short run, above all
# where goroutines make the coverage vary.
.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (10s)
	@grep -roE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' . | sed 's|/[^/]*:func | |' | sort | while read -r package target; do \
		echo "$$package $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$package"; \
	done

.PHONY: fuzz-short
fuzz-short: ## Run each fuzz target on 300 new inputs, as CI does
	@$(MAKE) --no-print-directory fuzz FUZZTIME=300x

.PHONY: cover
cover: setup ## Measure the statements that the tests reach, across packages
	@mkdir -p bin
	$(GO) test -coverpkg=./... -coverprofile=bin/cover.out ./...
	$(GO) tool cover -func=bin/cover.out | tail -n 1
	@echo "in detail: go tool cover -html=bin/cover.out"

.PHONY: install
install: build ## Install the binaries into PREFIX/bin (/usr/local/bin)
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $$(ls bin/minictr* | grep -vx bin/minictr-base) $(DESTDIR)$(PREFIX)/bin

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin cmd/minictr-image/base/*/layer.*
