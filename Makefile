# SPDX-License-Identifier: Apache-2.0. Needs git, make and Go; every target does its own set-up.
GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X github.com/regmint/regmint/agent/api.BuildVersion=$(VERSION)
BUILD    := CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)"
BINARIES := ./cmd/regmint ./cmd/docker-credential-regmint
# Tools and test clients are built once into CACHE, by version.
CACHE    ?= $(CURDIR)/.cache
LINT     := $(CACHE)/bin/golangci-lint-v2.15.0
VULN     := $(CACHE)/bin/govulncheck-v1.1.4
VULNDB   ?= $(wildcard ../shared/vulndb.tar.gz)
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
RACE     := $(shell command -v $$($(GO) env CC) >/dev/null 2>&1 && echo -race)
REPORT   := $(GO) run ./test/tools/report $(REPORT_FLAGS)
BIN      ?= bin
NESTED   := test/clients/rig test/clients/werf test/clients/current
T        ?= 30s

.PHONY: help build test demo e2e clients lint fmt vuln bench fuzz script gen golden cross install clean

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9 ]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' Makefile

build: ## both binaries into ./bin
	@mkdir -p $(BIN)
	$(BUILD) -o $(BIN)/ $(BINARIES)

test: ## every test that needs no other program, and the client libraries
	@[ -n "$(RACE)" ] || echo "make test: NO C COMPILER FOUND: RUNNING WITHOUT THE RACE DETECTOR" >&2
	$(REPORT) -- . $(RACE) ./... -- test/clients/werf ./... -- test/clients/current ./...

demo: build ## a registry, an agent and real pushes on this machine
	$(GO) run ./test/demo

clients: ## crane, helm, oras and buildx for make e2e
	@test/tools/clients.sh "$(CACHE)/clients"

e2e: build clients ## unmodified clients through the built binaries
	PATH="$(CACHE)/clients/bin:$$PATH" $(REPORT) -- . -tags e2e ./test/e2e/...

lint: $(LINT) ## golangci-lint, and go vet for three systems
	$(LINT) run ./...
	@for m in $(NESTED); do echo "golangci-lint in $$m"; (cd $$m && $(LINT) run ./...) || exit 1; done
	@for os in linux darwin windows; do echo "go vet ($$os)"; GOOS=$$os CGO_ENABLED=0 $(GO) vet ./... || exit 1; done

fmt: $(LINT) ## gofumpt and the order of imports
	$(LINT) fmt ./...

vuln: $(VULN) ## known vulnerabilities that the code reaches
	@[ -z "$(VULNDB)" ] || { rm -rf "$(CACHE)/vulndb" && mkdir -p "$(CACHE)/vulndb" && tar xzf "$(VULNDB)" -C "$(CACHE)/vulndb"; }
	$(VULN) $(if $(VULNDB),-db "file://$(CACHE)/vulndb") ./...

bench: build ## the figures of docs/benchmarks.md, side by side with others
	$(GO) run ./test/bench

fuzz: ## every fuzz target for T (default 30s)
	@test/tools/fuzz.sh $(T)

script: ## the command line scripts alone
	$(REPORT) -- . -run TestScripts ./cmd/regmint

gen golden: ## generated documents and golden files anew; look at the diff
	$(GO) generate ./... && GOLDEN_UPDATE=1 $(GO) test ./configdir/... ./agent/config/... ./cmd/...

cross: ## both binaries for every system
	@for p in $(PLATFORMS); do echo "$$p"; mkdir -p bin/$$p; \
	  GOOS=$${p%/*} GOARCH=$${p#*/} $(BUILD) -o bin/$$p/ $(BINARIES) || exit 1; done

install: ## both binaries into PREFIX/bin (default ~/.local, for root /usr/local)
	./install.sh $(if $(PREFIX),--prefix "$(PREFIX)")

clean: ## remove ./bin, ./dist and ./.cache
	rm -rf bin dist .cache

$(LINT):
	@mkdir -p $(@D) && GOBIN=$(@D)/tmp CGO_ENABLED=0 $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 && mv $(@D)/tmp/golangci-lint $@

$(VULN):
	@mkdir -p $(@D) && GOBIN=$(@D)/tmp $(GO) install golang.org/x/vuln/cmd/govulncheck@v1.1.4 && mv $(@D)/tmp/govulncheck $@
