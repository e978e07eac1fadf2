# riposte: `make run` guards this host, `make test` runs every test.
# Both set up what they need; on Debian they install packages with apt.

GO      ?= go
AGENTS  ?= 10000
BIN     := build/riposte
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X riposte/internal/cli.version=$(VERSION)
# What the tests use beyond Go: the kernel's tools, a real sshd, a real mail server, Wine.
TEST_PACKAGES := nftables iptables ipset iproute2 conntrack openssh-server openssh-client sshpass rsyslog opensmtpd \
	systemd-journal-remote firewalld dbus ufw wine64 wine64-preloader python3 util-linux passwd procps kmod gcc libc6-dev
TOOL_staticcheck := honnef.co/go/tools/cmd/staticcheck@v0.8.2
TOOL_govulncheck := golang.org/x/vuln/cmd/govulncheck@latest

.PHONY: run build test lint bench bench-fleet conformance fuzz soak clean setup-test help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: build ## guard this host with the built-in configuration and rules
	./$(BIN) run

build: ## build the static binary into build/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/riposte

setup-test: ## install what the tests need (Debian, as root)
	@bench/setup-test.sh $(TEST_PACKAGES)
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o build/tools/nats-server github.com/nats-io/nats-server/v2

test: setup-test build ## every test, with the race detector, root tests included
	CGO_ENABLED=1 $(GO) test -race -timeout 40m ./...
	@# Once more without it: allocation gates, and real PCRE2 as an oracle, cannot run under the race detector.
	CGO_ENABLED=0 $(GO) test -timeout 10m ./internal/analysis ./internal/ossec/pattern

lint: build/tools/staticcheck build/tools/govulncheck ## gofmt, vet, staticcheck, govulncheck where it can run
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	build/tools/staticcheck ./...
	@build/tools/govulncheck ./... || { test $$? -eq 3 && exit 3; echo "govulncheck could not run here (no vulnerability database): not checked"; }

build/tools/%:
	GOBIN=$(CURDIR)/build/tools $(GO) install $(TOOL_$*)

conformance: ## the real systems' suites on the real rulesets, both dialects
	$(GO) run ./bench/conformance

bench: build ## the figures of the documentation
	bench/run.sh

bench-fleet: ## a server with AGENTS (default 10000) simulated agents and two real ones
	$(GO) run ./bench/fleet -agents $(AGENTS)

fuzz: ## every fuzz target for FUZZTIME (default 10m) each
	bench/fuzz.sh

soak: setup-test ## at least 10,000 crashes and restarts, and kills at every step; SEED repeats one
	bench/soak.sh

clean: ## remove what was built
	rm -rf build
