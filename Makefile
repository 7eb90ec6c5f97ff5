GO   ?= go
TOOL := $(GO) tool -modfile=tools/go.mod

# A test that hangs should end before CI's own limit does, with stacks.
TEST_TIMEOUT ?= 10m
FUZZ_TIME    ?= 20s

# Tests that count: allocations of a packet and of a message, system calls of a packet, writes of a flush.
COUNTERS := Nothing|NotAllocate|NoAllocations|AllocateLittle|CallsForAChunk|Gathered|CostOfAnAllocation|RelayBatches|SystemCalls|SleepsOnce|HoldWhileBusy|CardHasRoom

.PHONY: build cross test lint race nat show-move show-killed k8s image release release-test fuzz bench bench-deps gate microbench deps clean

build: ## bin/node and bin/turnd
	$(GO) build -o bin/ ./cmd/node ./cmd/turnd

cross: ## that both programs build for other systems; prints nothing when they do
	@for os in darwin windows freebsd; do \
		for program in node turnd; do GOOS=$$os CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/$$program || exit 1; done; \
	done

test: deps lint cross race k8s release-test ## what CI runs

deps: ## Debian packages that tests use, when root
	@scripts/test-deps.sh

lint: ## vet, staticcheck, gofumpt, tidy; first what is quick
	@files=$$($(TOOL) gofumpt -l .) || exit 1; \
	if [ -n "$$files" ]; then echo "gofumpt -w these:"; echo "$$files"; exit 1; fi
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(TOOL) staticcheck ./...

race: ## all tests under the race detector; the seeds of fuzz tests are among them
	$(GO) test -race -timeout $(TEST_TIMEOUT) ./...
	$(GO) test -run 'TestAmongHostileNodes|TestOneViceAtATime|TestRecordsSurviveTheirNodes|TestIdleHour' ./dht

nat: ## which networks reach which, how and why; root
	$(GO) test -count 1 -v -run '^(TestReach|TestUDPThroughARelay)$$' ./internal/testnet

show-move: ## a transfer of 1 GiB that moves from the relay to a direct path and back while it runs; root. Writes to docs/reach.md
	SHOW_MOVE=1024 $(GO) test -count 1 -v -timeout 20m -run '^TestShowMove$$' ./internal/testnet -update

show-killed: ## 2 GiB between two homes, the receiver killed with -9 at half and started again; 6 GiB of disk in TMPDIR
	SHOW_KILLED=2048 $(GO) test -count 1 -v -timeout 20m -run '^TestScripts$$/^show-killed$$' ./cmd/node

k8s: ## the manifests, by the types of Kubernetes; a module of its own (docs/adr/0041)
	cd deploy/k8s/check && $(GO) test ./...

image: ## the OCI image traverse:dev, with podman or docker
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/static/turnd ./cmd/turnd
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/static/traverse ./cmd/node
	$$(command -v podman || echo docker) build -t traverse:dev -f deploy/k8s/Containerfile bin/static

release: ## archives, packages, image, bills of materials and checksums in dist/
	cd deploy/release && $(GO) run .

release-test: ## that a release can be repeated byte by byte; a module of its own (docs/adr/0050)
	cd deploy/release && $(GO) vet ./... && $(GO) test ./...

# Making one interesting input shorter may take a minute, and nothing else runs meanwhile: it gets ten tries.
fuzz: ## every fuzz test for FUZZ_TIME
	@for package in $$($(GO) list ./...); do \
		for name in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZ_TIME) -fuzzminimizetime 10x $$package || exit 1; \
		done; \
	done

bench: bench-deps ## whole paths, against the programs people use today; 15 minutes at most; what it found is in bin/bench
	$(GO) run ./bench -out bin/bench

gate: bench-deps ## what must not become worse: counters first, then ratios in one run; nothing of it is a time
	$(GO) test -count=1 -run '$(COUNTERS)' ./core/... ./turn/... ./bench
	$(GO) run ./bench -quick -gate

bench-deps:
	@scripts/test-deps.sh openssh-server openssh-client rsync ethtool

microbench: ## the Go benchmarks of the packages
	$(GO) test -run '^$$' -bench . -benchmem ./...

clean:
	rm -rf bin dist
