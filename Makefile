# make test   the whole suite, in minutes; what CI runs first
# make check  slower checks: format, linters, generated files, races
# make fuzz   a few seconds of every fuzz target; finds what it finds, so no
#             change is held up by it
# make soak   many kills, power cuts and attacks, as root; takes long
# make        a binary in bin/lar
# make run    the hub, with its data in ./lar-data
# make bench        our own benchmarks, in some minutes
# make bench-peers  Lar beside other brokers: writes packaging/bench/RESULTS.md;
#                   FLAGS='-rounds 1 -only pipe' for less (-help names them)

.PHONY: build run generate test check fuzz soak clean

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/lar ./cmd/lar

run:
	go run ./cmd/lar

generate:
	go tool -modfile=.ci/tools.mod templ generate
	go generate ./...

test:
	.ci/install test
	.ci/test

check:
	.ci/install check
	.ci/check

fuzz:
	.ci/fuzz

# Every round is at a random moment; a failure prints its seed.
soak:
	.ci/install test
	LAR_KILLS=1000 LAR_CUTS=50 LAR_HANG=30 go test -v -count=1 -timeout 60m -run '^(TestKill|TestPowerCut|TestPowerCutUnsynced|TestDiskHangs)$$' ./cmd/lar
	LAR_HOSTILE=15s LAR_MIXTURE=5m go test -v -count=1 -timeout 20m -run '^TestHostile' ./mqtt
	LAR_DAMAGE=all go test -count=1 -run '^TestDamagedFiles$$' ./hub
	go test -run '^$$' -bench '^BenchmarkStart$$' -benchtime 5x ./hub

bench:
	go test -run '^$$' -bench 'DecodePublish|AppendPublish|TreeMatch|NamesMatch' -benchmem ./mqtt/packet ./mqtt/topic
	go test -run '^$$' -bench 'Forward|Change|Unwanted|Run$$' -benchmem ./mqtt ./devices ./automations
	go test -run '^$$' -bench 'CommitterFloor|Submit|Scan' ./hub/store
	go test -run '^$$' -bench Answer -benchtime 1000x ./hub

bench-peers:
	go run ./packaging/bench $(FLAGS)

clean:
	rm -rf bin
