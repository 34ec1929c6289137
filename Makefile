.DEFAULT_GOAL := help
SHELL := bash
.PHONY: help deps test check fmt-check vet lint vuln tidy-check stress soak soak-sql cover fuzz mutate model bench
.NOTPARALLEL:

# Every module of the repository, of which tools is no part.
MODULES = $$(find . -name go.mod -not -path './tools/*' -not -path '*/testdata/*' -exec dirname {} \; | sort)

# The race detector needs cgo and a C compiler.
RACE = $$([ "$$(go env CGO_ENABLED)" = 1 ] && command -v $$(go env CC | cut -d' ' -f1) >/dev/null && echo -race)

# Runs a command in every module, also after it failed in one.
IN_MODULES = in_modules() { local m rc=0; for m in $(MODULES); do (cd "$$m" && "$$@") || rc=1; done; return $$rc; }; in_modules

APT = DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The servers the tests need: binary=package of Debian.
SERVERS = redis-server=redis-server mariadbd=mariadb-server postgres=postgresql

deps: ## install the servers the tests need (root on Debian or Ubuntu), else name what is missing
	@has() { PATH=$$PATH:/usr/sbin$$(printf ':%s' /usr/lib/postgresql/*/bin) command -v "$$1" >/dev/null; }; \
	missing() { local s; for s in $(SERVERS); do has "$${s%=*}" || echo "$${s#*=}"; done; }; \
	packages=$$(missing | xargs); \
	[ -n "$$packages" ] || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "deps: installing $$packages; where services start by themselves these do too, which the tests do not mind: they use ports of their own"; \
		$(APT) update; \
		$(APT) install --no-install-recommends $$packages; \
		packages=$$(missing | xargs); \
	fi; \
	[ -z "$$packages" ] || echo "deps: $$packages missing: tests that need it are skipped, or fail with CI=true"

# -count=1: a cached result knows nothing of the servers that are there now. The
# tests on miniredis with the build tag !race run in a second go.
test: deps ## test every module; the last line counts, the lines above it name skips and their cure
	@set -o pipefail; go build -o bin/testsum ./internal/cmd/testsum && \
	{ $(IN_MODULES) go test $(RACE) -count=1 -timeout 10m -json ./...; \
	[ -z "$(RACE)" ] || go test -count=1 -timeout 10m -json -run OnMiniredis .; } | bin/testsum

check: fmt-check vet lint tidy-check test ## all that CI runs, and the example programs
	go run ./example/shop
	go run -C example/outbox .

fmt-check:
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "not formatted, run gofmt -w:"; echo "$$out"; exit 1; fi

vet:
	@$(IN_MODULES) go vet ./...

lint: ## staticcheck
	@$(IN_MODULES) go tool -modfile=$(CURDIR)/tools/staticcheck.mod staticcheck ./...

vuln: ## govulncheck of every module; it needs the database at vuln.go.dev, and says so where that is out of reach
	@curl -sf -m 20 -o /dev/null https://vuln.go.dev/index/db.json || { echo "vuln: not checked: vuln.go.dev is out of reach from here"; exit 0; }; \
	$(IN_MODULES) go tool -modfile=$(CURDIR)/tools/govulncheck.mod govulncheck ./...

tidy-check:
	@$(IN_MODULES) go mod tidy -diff

stress: deps ## run the tests of the main module 20 times, to find the flaky ones
	go test $(RACE) -count=20 -timeout 60m ./...

soak: deps ## 3 minutes of Redis while everything is killed, frozen and cut off at random
	go run ./internal/soak -minutes 3 -seed 1

soak-sql: deps ## a minute of the same for each SQL database
	@for e in mariadb postgres sqlite; do go run -C sqlqueue/sqltest ./soak -engine $$e -minutes 1 -seed 1 || exit 1; done

bench: deps ## fanfare and its peers at the same work; nothing else should run meanwhile
	go run -C bench . -json "$(CURDIR)/bench.json"

cover: deps ## test coverage of the main module, in cover.out
	go test -count=1 -timeout 10m -coverpkg=./... -coverprofile=cover.out ./...
	@go tool cover -func=cover.out | tail -n 1

# Where fuzz targets are.
FUZZED = . ./drivertest

fuzz: deps ## each fuzz target for 20 s
	@rc=0; for p in $(FUZZED); do for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		echo "fuzz: $$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime 20s $$p || rc=1; \
	done; done; exit $$rc

mutate: deps ## make mistakes in the Lua scripts, and require that a test notices each
	nice -n 19 go run ./internal/cmd/mutate

model: ## check the model of the claim protocol with spin
	@command -v spin >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "model: spin is missing"; exit 1; }; \
		$(APT) update && $(APT) install --no-install-recommends spin; }
	docs/model/check.sh
