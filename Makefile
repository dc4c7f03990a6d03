# Everything here needs Go and make; `make test` and `make bench` install by
# themselves what else they need from Debian.

GO        ?= go
TOOL      := $(GO) tool -modfile=tools/go.mod
RACE      ?= -race
WITHOUT_RACE := TestNoAllocations?|TestAttackKeyInMemory
FUZZTIME  ?= 1m
ROUNDS    ?= 5
ARGS      ?=
VERSION   ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS   := -s -w

.DEFAULT_GOAL := help
.PHONY: help build demo test check bench fuzz images cover
.PHONY: fmt vet staticcheck lint vuln house generate

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the one static binary, ./isogate
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o isogate ./cmd/isogate

demo: ## the whole world on loopback, with real traffic (ARGS=--once: run, check, exit)
	$(GO) run ./cmd/isogate demo $(ARGS)

test: ## every test, shuffled, under the race detector
	@.ci/debian test
	$(GO) test $(RACE) -shuffle=on -timeout=18m ./...
	@# The detector keeps memory of its own and makes pools forget: what is about that is seen without it.
	$(GO) test -count=1 -run='^($(WITHOUT_RACE))$$' ./internal/obfuscate ./internal/payload ./internal/seal

check: fmt vet staticcheck lint vuln house generate ## everything that is not a test of behaviour
	@echo "check: all passed"

bench: ## measure against peers on this machine, and write docs/benchmarks.md (ROUNDS=5)
	@.ci/debian bench
	$(GO) -C bench run . -rounds=$(ROUNDS) -write=../docs/benchmarks.md $(ARGS)

fuzz: ## run every fuzz target for FUZZTIME (1m) each
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' .ci/fuzz

images: ## docs/images, as a browser sees the demo's pages
	ISOGATE_IMAGES=$(CURDIR)/docs/images $(GO) test -count=1 -run='^(TestAgentInABrowser|TestTheDemosHub)$$' ./cmd/isogate

cover: ## coverage of the floors that do no I/O
	$(GO) test -cover . ./internal/taxonomy ./internal/obfuscate ./internal/payload ./internal/policy

fmt: ## gofmt, nothing rewritten
	@out=$$(gofmt -l -s $$(git ls-files -co --exclude-standard -- '*.go' | grep -v /testdata/)); \
	if [ -n "$$out" ]; then echo "not formatted; use gofmt -s -w:"; echo "$$out"; exit 1; fi

vet: ## go vet, both modules
	$(GO) vet ./...
	$(GO) -C bench vet ./...

staticcheck: ## staticcheck, pinned in tools/go.mod
	$(TOOL) staticcheck ./...

lint: ## golangci-lint with the house's messages, pinned in tools/go.mod
	$(TOOL) golangci-lint run --allow-parallel-runners ./...

vuln: ## known vulnerabilities, where the database can be reached
	@state=$$($(GO) -C tools run ./vulndb) || exit 1; \
	if [ "$$state" = ok ]; then $(TOOL) govulncheck ./...; else echo "govulncheck: skipped: $$state"; fi

house: ## floors, promises, dependencies, decisions, words
	$(GO) test -count=1 . ./internal/check/...

generate: ## generated files are what their generators write
	@.ci/generated
