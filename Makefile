# make           builds bin/besterd and bin/bester
# make run       shows this machine's readings flowing; ends at Ctrl-C
# make test      everything there is to test; installs the Debian packages it needs
# make help      lists all targets

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOBUILD  = CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'
PREFIX  ?= /usr/local
HOSTGO  = env -u GOOS -u GOARCH -u GOARM go
FUZZTIME ?= 1m

# The Go release that go.mod names is fetched where the one installed is older, also where
# the go command was told to stay with its own. make GOTOOLCHAIN=local builds with that.
export GOTOOLCHAIN = auto

# What make test needs, as command:package of Debian's.
NEEDS = qemu-arm-static:qemu-user-static qemu-aarch64-static:qemu-user-static python3:python3 gcc:gcc gcc:libc6-dev git:git df:coreutils free:procps ip:iproute2

.PHONY: all build run test unit race arm fuzz check bench compare torture size vuln generate deps man install uninstall clean help

all: build ## the same as build

build: ## bin/besterd and bin/bester, static, and what else make install takes
	$(GOBUILD) -o bin/ ./cmd/besterd ./cmd/bester
	@$(MAKE) --no-print-directory bin/man/bester.bash

run: build ## a hub with this machine's readings, a handler and a client, until Ctrl-C or DURATION=10s
	bin/bester demo $(if $(DURATION),--duration $(DURATION))

test: deps ## everything: check, unit, race, arm, a few seconds of fuzz for each parser, size
	$(MAKE) check
	$(MAKE) unit
	$(MAKE) race
	$(MAKE) arm
	$(MAKE) fuzz FUZZTIME=3s
	$(MAKE) size

unit: ## unit tests and stories; also those that measure, which the race detector would disturb
	go test ./...

race: ## the same under the race detector
	CGO_ENABLED=1 go test -race -pgo=off ./...

# Emulation is slow: tests that take long leave out what they need not repeat (-short).
# One package at a time, so that their clocks are not each other's.
arm: ## the tests for ARMv6 and ARM64, emulated
	CGO_ENABLED=0 GOARCH=arm GOARM=6 go test -pgo=off -short -p 1 -exec qemu-arm-static ./...
	CGO_ENABLED=0 GOARCH=arm64 go test -pgo=off -short -p 1 -exec qemu-aarch64-static ./...

fuzz: ## each fuzz target for FUZZTIME (1m)
	@set -e; grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | \
	sed -E 's,/[^/]*:func , ,' | while read -r folder target; do \
		echo "fuzz $$folder $$target"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "$$folder" </dev/null; \
	done

check: ## gofmt, vet, staticcheck
	@wrong=$$(gofmt -l .); [ -z "$$wrong" ] || { echo "not as gofmt has it; run gofmt -w:" $$wrong; exit 1; }
	go vet ./...
	go tool staticcheck ./...

# Round by round, so that each figure and the baseline it is measured by had the same machine.
bench: ## the benchmarks, with medians of 6 rounds
	go test -c -o bin/besterd.test ./cmd/besterd
	cd cmd/besterd && for round in 1 2 3 4 5 6; do ../../bin/besterd.test -test.run '^$$' -test.bench . || exit; done | go tool benchstat -

# The compiler lays the hot path out as this profile says; to be made anew when that path
# has changed. Not for race and arm, where compiling everything by it would only take time.
profile: ## cmd/besterd/default.pgo, from the benchmarks
	go test -pgo=off -run '^$$' -bench 'Native|Deadband|Classic16' -benchtime 5s -o bin/besterd.test -cpuprofile bin/default.pgo ./cmd/besterd
	mv bin/default.pgo cmd/besterd/default.pgo

# A module of its own: neither server is a dependency of the hub. Debian's package
# of mosquitto starts a broker at port 1883; systemctl disable --now mosquitto ends it.
compare: ## hub/spool beside nats-server and mosquitto in one table; as root; on DIR=/dev/shm, with syncs longer by DELAY=10ms
	@PATH=$$PATH:/usr/sbin:/sbin $(MAKE) --no-print-directory deps NEEDS='mosquitto:mosquitto mkfs.ext4:e2fsprogs strace:strace'
	cd hub/spool/compare && CGO_ENABLED=0 $(HOSTGO) build -trimpath -ldflags '-s -w' -o ../../../bin/compare/ . ./spoolproc github.com/nats-io/nats-server/v2
	$$([ "$$(id -u)" = 0 ] || echo sudo) bin/compare/compare $(if $(DIR),-dir $(DIR)) $(if $(DELAY),-delay $(DELAY)) $(ARGS)

torture: ## hub/spool's proofs in full, about 15 minutes; as root, for it mounts file systems on loop devices, made in DIR=/dev/shm
	@[ "$$(id -u)" = 0 ] || command -v sudo >/dev/null || { echo "make torture mounts file systems on loop devices: run it as root, or install sudo" >&2; exit 1; }
	@PATH=$$PATH:/usr/sbin:/sbin $(MAKE) --no-print-directory deps NEEDS='qemu-arm-static:qemu-user-static mkfs.ext4:e2fsprogs'
	CGO_ENABLED=0 $(HOSTGO) test -c -o bin/torture/spool.test ./hub/spool
	CGO_ENABLED=0 $(HOSTGO) test -c -o bin/torture/loopfs.test ./hub/spool/internal/loopfs
	CGO_ENABLED=0 GOOS=linux GOARCH=arm GOARM=6 go test -c -o bin/torture/spool.armv6.test ./hub/spool
	@$$([ "$$(id -u)" = 0 ] || echo sudo) env PATH="$$PATH:/usr/sbin:/sbin" hub/spool/torture.sh bin/torture $(or $(DIR),/dev/shm)

size: ## besterd for ARMv6 must stay within 8 MB
	GOARCH=arm GOARM=6 $(GOBUILD) -o bin/armv6/ ./cmd/besterd ./cmd/bester
	@wc -c bin/armv6/besterd bin/armv6/bester
	@[ $$(wc -c <bin/armv6/besterd) -le 8000000 ] || { echo "bin/armv6/besterd is larger than 8000000 bytes"; exit 1; }

# The database is a module, so the proxy for modules is all that is asked; the index that
# govulncheck reads is made of it once. VULNDB=latest takes the newest.
VULNDB ?= v0.0.0-20261105234957-e22db6528018

vuln: bin/vulndb-$(VULNDB) ## what is known of vulnerabilities in the code that is called, by VULNDB=VERSION of golang.org/x/vulndb
	$(HOSTGO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 -db file://$(CURDIR)/bin/vulndb-$(VULNDB) ./...

bin/vulndb-$(VULNDB):
	osv=$$($(HOSTGO) mod download -json golang.org/x/vulndb@$(VULNDB) | sed -nE 's/^\s*"Dir": "(.*)".*/\1/p')/data/osv && \
	$(HOSTGO) run golang.org/x/vulndb/cmd/indexdb@$(VULNDB) -vulns "$$osv" -out $@.part && mv $@.part $@

generate: ## make the generated files anew
	go generate ./...

deps: ## the Debian packages that make test needs
	@missing=; for need in $(NEEDS); do \
		case $$need in gcc:libc6-dev) [ -e /usr/include/stdlib.h ];; *) command -v $${need%:*} >/dev/null;; esac || missing="$$missing $${need#*:}"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	missing=$$(printf '%s\n' $$missing | sort -u | tr '\n' ' '); \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	if ! command -v apt-get >/dev/null || { [ -n "$$sudo" ] && ! command -v sudo >/dev/null; }; then \
		echo "these packages are missing; as root: apt-get install $$missing" >&2; exit 1; \
	fi; \
	echo "installing $$missing"; \
	$$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing

man: ## bin/man: the man pages, and the completion for bash
	$(HOSTGO) run ./cmd/bester man bin/man
	install -m 644 cmd/besterd/besterd.8 bin/man/besterd.8
	$(HOSTGO) run ./cmd/bester completion bash >bin/man/bester.bash

# What install takes is made only where it is missing or older than what it is made of,
# so that root, who may have no go, installs what another user has built.
SOURCES := go.mod go.sum $(shell find $(filter-out bin,$(patsubst %/,%,$(wildcard */))) -name '*.go' ! -name '*_test.go' -o -name '*.toml' ! -path '*/testdata/*' -o -name '*.pgo')

bin/besterd bin/bester &: $(SOURCES)
	$(MAKE) --no-print-directory build
	touch bin/besterd bin/bester

bin/man/bester.bash: $(SOURCES) cmd/besterd/besterd.8
	$(MAKE) --no-print-directory man

# A cross build asks go itself: no file here says which machine it is for.
install: $(if $(GOOS)$(GOARCH)$(GOARM),build,bin/besterd bin/bester) bin/man/bester.bash ## programs, man pages and completion, under $(DESTDIR)$(PREFIX); as root
	@dir='$(DESTDIR)$(PREFIX)'; while [ ! -e "$$dir" ]; do dir=$$(dirname "$$dir"); done; \
	[ -w "$$dir" ] || { echo "$$dir is not yours to write in: run as root: sudo make install$(patsubst %, %,$(MAKEOVERRIDES))" >&2; exit 1; }
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin bin/besterd bin/bester
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 bin/man/*.1
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man8 bin/man/*.8
	install -D -m 644 bin/man/bester.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/bester

uninstall: ## takes away what make install has put under $(DESTDIR)$(PREFIX); as root
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,bin/besterd bin/bester share/man/man8/besterd.8 share/bash-completion/completions/bester) $(DESTDIR)$(PREFIX)/share/man/man1/bester.1 $(DESTDIR)$(PREFIX)/share/man/man1/bester-*.1

clean: ## what make has made
	rm -rf bin

help: ## this list
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/\1\t\2/p' Makefile | expand -t 12
