package identity

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"lar.home/ui"
)

// The cost of a new password hash: argon2id with 19 MiB and two passes, the
// least that the OWASP recommendation allows. It leaves a Pi with 512 MB its
// memory, since one hash is made at a time, and takes some tenths of a second
// on its cores. A stored hash says its own cost, so this can be raised.
const (
	hashMemory  = 19 << 10 // KiB
	hashPasses  = 2
	hashThreads = 1
	hashSize    = 32
	saltSize    = 16
)

// The most that a stored hash may ask for, so that a damaged record cannot
// take the hub's memory.
const (
	maxHashMemory  = 64 << 10 // KiB
	maxHashPasses  = 16
	maxHashThreads = 8
)

// maxWaiting is how many people may wait for the one worker. Whoever comes
// then is told to try again.
const maxWaiting = 8

// maxPassword bounds what is hashed, in bytes.
const maxPassword = 1024

// slowHash hashes people's passwords, one at a time.
type slowHash struct {
	rand    io.Reader
	worker  chan struct{}
	waiting chan struct{}
	nobody  string // a hash nobody knows the password of
	tidy    *time.Timer
}

// tidyAfter is how long after a hash its memory is given back to the system.
// It is more than all the rest of a small home's, and so much garbage would
// wait long for a collection that the rest alone has no need of.
const tidyAfter = time.Second

func newSlowHash(rand io.Reader) (*slowHash, error) {
	h := &slowHash{
		rand:    rand,
		worker:  make(chan struct{}, 1),
		waiting: make(chan struct{}, maxWaiting),
		tidy:    time.AfterFunc(tidyAfter, debug.FreeOSMemory),
	}
	h.tidy.Stop()
	// Random bytes serve as well as a hash that was computed, and do not
	// cost a start of the hub its time.
	var b [saltSize + hashSize]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	h.nobody = phc(b[:saltSize], b[saltSize:])
	return h, nil
}

// hash returns what to store of a password, in the PHC string format.
func (h *slowHash) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(h.rand, salt); err != nil {
		return "", fmt.Errorf("make salt: %w", err)
	}
	done, err := h.enter(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return phc(salt, argon2.IDKey([]byte(password), salt, hashPasses, hashMemory, hashThreads, hashSize)), nil
}

// verify tells whether stored was made from password. For an empty stored it
// says no after the same time.
func (h *slowHash) verify(ctx context.Context, stored, password string) (bool, error) {
	somebody := stored != ""
	if !somebody {
		stored = h.nobody
	}
	var version int
	var memory, passes uint32
	var threads uint8
	fields := strings.Split(stored, "$")
	if len(fields) != 6 || fields[1] != "argon2id" {
		return false, fmt.Errorf("stored password has an unknown form")
	}
	if _, err := fmt.Sscanf(fields[2]+" "+fields[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &passes, &threads); err != nil ||
		version != argon2.Version || memory > maxHashMemory ||
		passes < 1 || passes > maxHashPasses || threads < 1 || threads > maxHashThreads {
		return false, fmt.Errorf("stored password has an unknown cost")
	}
	salt, err := base64.RawStdEncoding.DecodeString(fields[4])
	if err != nil {
		return false, fmt.Errorf("stored password: %w", err)
	}
	want, err := base64.RawStdEncoding.DecodeString(fields[5])
	if err != nil || len(want) < 16 || len(want) > 64 {
		return false, fmt.Errorf("stored password has no hash")
	}
	done, err := h.enter(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	got := argon2.IDKey([]byte(password), salt, passes, memory, threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1 && somebody, nil
}

// enter waits for the worker, unless too many wait already.
func (h *slowHash) enter(ctx context.Context) (done func(), err error) {
	select {
	case h.waiting <- struct{}{}:
		defer func() { <-h.waiting }()
	default:
		return nil, ui.ErrTooManyTries
	}
	select {
	case h.worker <- struct{}{}:
		return func() {
			h.tidy.Reset(tidyAfter)
			<-h.worker
		}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func phc(salt, sum []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashPasses, hashThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
}
