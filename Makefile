# make test   the whole suite, in minutes; what CI runs first
# make check  slower checks: format, linters, generated files, fuzzing, races
# make soak   many kills and power cuts of the real binary, as root; takes long
# make        a binary in bin/lar
# make run    the hub, with its data in ./lar-data

.PHONY: build run generate test check soak clean

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

# Every round is at a random moment; a failure prints its seed.
soak:
	.ci/install test
	LAR_KILLS=1000 LAR_CUTS=50 go test -v -count=1 -timeout 60m -run '^(TestKill|TestPowerCut|TestPowerCutUnsynced)$$' ./cmd/lar
	go test -run '^$$' -bench '^BenchmarkStart$$' -benchtime 5x ./hub

clean:
	rm -rf bin
