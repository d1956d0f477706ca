# make test   the whole suite, in minutes; what CI runs first
# make check  slower checks: format, linters, generated files, fuzzing, races
# make        a binary in bin/lar
# make run    the hub, with its data in ./lar-data

.PHONY: build run generate test check clean

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

clean:
	rm -rf bin
