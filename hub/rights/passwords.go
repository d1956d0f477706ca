package rights

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/argon2"

	"lar.home/hub/scram"
)

// Bounds of what a hash may ask for.
const (
	maxIterations = 1_000_000
	maxMemory     = 64 << 10 // KiB, of argon2id
	maxPasses     = 16
	maxThreads    = 8
	maxPassword   = 1024
)

// Passwords are the users of a password file.
type Passwords struct {
	users  map[string]hash
	nobody hash
	counts []int // iterations that SCRAM is offered with
	slow   chan struct{}
	large  chan struct{} // holds one token while argon2id takes its memory
	secret [32]byte

	mu    sync.Mutex // guards known
	known map[string][32]byte
}

// hash is what is kept of a password, in one of four forms.
type hash struct {
	kind       byte // as in the file: '7' is PBKDF2 with SHA-512, '6' SHA-512 with the salt behind the password, 'a' argon2id, 's' SCRAM-SHA-256
	iterations int  // of PBKDF2; passes of argon2id
	memory     int  // KiB
	threads    int
	salt, sum  []byte
	scram      scram.Verifier
}

// ReadPasswords reads a password file: lines of a name, a colon and a hash in
// one of the forms of mosquitto_passwd, $7$ and $6$ of 2.0 and $argon2id$ of
// 2.1, or as Line makes it, which is the one that SCRAM-SHA-256 can be done
// with.
func ReadPasswords(file string) (*Passwords, error) {
	lines, err := readLines(file)
	if err != nil {
		return nil, err
	}
	p := &Passwords{
		users: make(map[string]hash),
		slow:  make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)),
		large: make(chan struct{}, 1),
		known: make(map[string][32]byte),
	}
	rand.Read(p.secret[:])
	for _, l := range lines {
		name, text, ok := strings.Cut(l.text, ":")
		if !ok || name == "" || len(name) > 256 {
			return nil, fmt.Errorf("%s:%d: want a name, a colon and a hash", file, l.number)
		}
		h, err := parseHash(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: user %q: %w", file, l.number, name, err)
		}
		if _, twice := p.users[name]; twice {
			return nil, fmt.Errorf("%s:%d: user %q stands in it twice", file, l.number, name)
		}
		p.users[name] = h
		if h.kind == 's' {
			p.counts = append(p.counts, h.scram.Iterations)
		}
		p.nobody = h // who does not exist costs what the last one does
	}
	if p.nobody.kind == 0 {
		p.nobody = hash{kind: 's', scram: scram.Nobody(p.secret[:], "")}
	}
	return p, nil
}

func parseHash(text string) (h hash, err error) {
	if strings.HasPrefix(text, scram.Method) {
		h.kind = 's'
		return h, h.scram.UnmarshalText([]byte(text))
	}
	f := strings.Split(text, "$")
	if len(f) < 2 || f[0] != "" {
		return h, errHash
	}
	decode := base64.StdEncoding.DecodeString
	sizes := [2]int{sha512.Size, sha512.Size}
	switch {
	case f[1] == "7" && len(f) == 5:
		h.kind = '7'
		if h.iterations, err = strconv.Atoi(f[2]); err != nil || h.iterations < 1 || h.iterations > maxIterations {
			return h, errHash
		}
	case f[1] == "6" && len(f) == 4:
		h.kind = '6'
	case f[1] == "argon2id" && len(f) == 6:
		h.kind, decode, sizes = 'a', base64.RawStdEncoding.DecodeString, [2]int{16, 64}
		var version int
		if _, err := fmt.Sscanf(f[2]+" "+f[3], "v=%d m=%d,t=%d,p=%d", &version, &h.memory, &h.iterations, &h.threads); err != nil ||
			version != argon2.Version || h.memory < 8*h.threads || h.memory > maxMemory ||
			h.iterations < 1 || h.iterations > maxPasses || h.threads < 1 || h.threads > maxThreads {
			return h, errHash
		}
	default:
		return h, errHash
	}
	if h.salt, err = decode(f[len(f)-2]); err != nil || len(h.salt) > 256 {
		return h, errHash
	}
	if h.sum, err = decode(f[len(f)-1]); err != nil || len(h.sum) < sizes[0] || len(h.sum) > sizes[1] {
		return h, errHash
	}
	return h, nil
}

// Line makes the line of a password file.
func Line(name, password string) (string, error) {
	if name == "" || len(name) > 256 || strings.ContainsAny(name, ":\r\n") || strings.HasPrefix(name, "#") || strings.TrimSpace(name) != name {
		return "", fmt.Errorf("%q cannot be a user name of a password file", name)
	}
	if password == "" || len(password) > maxPassword {
		return "", fmt.Errorf("a password has 1 to %d bytes", maxPassword)
	}
	salt := make([]byte, scram.SaltSize)
	rand.Read(salt)
	v, err := scram.New([]byte(password), salt, scram.Iterations)
	if err != nil {
		return "", err
	}
	text, err := v.MarshalText()
	return name + ":" + string(text), err
}

// matches is slow, but for form 6.
func (h *hash) matches(password []byte) bool {
	if h.kind == 's' {
		return h.scram.Matches(password)
	}
	return subtle.ConstantTimeCompare(h.of(password), h.sum) == 1
}

func (h *hash) of(password []byte) []byte {
	switch h.kind {
	case '6':
		sum := sha512.Sum512(append(append([]byte(nil), password...), h.salt...))
		return sum[:]
	case 'a':
		return argon2.IDKey(password, h.salt, uint32(h.iterations), uint32(h.memory), uint8(h.threads), uint32(len(h.sum)))
	}
	sum, err := pbkdf2.Key(sha512.New, string(password), h.salt, h.iterations, sha512.Size)
	if err != nil {
		return nil
	}
	return sum
}

// Has tells whether a user stands in the file.
func (p *Passwords) Has(name string) bool {
	_, ok := p.users[name]
	return ok
}

// Verify tells whether a password is a user's. It is slow but for one that was
// right before, and takes the same time for a user that does not exist.
func (p *Passwords) Verify(name string, password []byte) bool {
	if len(password) == 0 || len(password) > maxPassword { // SEC-20
		return false
	}
	quick := sha256.Sum256(append(append(p.secret[:len(p.secret):len(p.secret)], name+"\x00"...), password...))
	p.mu.Lock()
	before, seen := p.known[name]
	p.mu.Unlock()
	if seen && subtle.ConstantTimeCompare(before[:], quick[:]) == 1 {
		return true
	}
	h, exists := p.users[name]
	if !exists {
		h = p.nobody
	}
	worker := p.slow
	if h.kind == 'a' {
		worker = p.large
	}
	worker <- struct{}{}
	ok := h.matches(password) && exists
	<-worker
	if ok {
		p.mu.Lock()
		p.known[name] = quick
		p.mu.Unlock()
	}
	return ok
}

// Verifier returns what SCRAM-SHA-256 keeps of a user's password; exists is
// false too for a user whose line is of another form.
func (p *Passwords) Verifier(name string) (v scram.Verifier, exists bool) {
	h := p.users[name]
	return h.scram, h.kind == 's'
}

// Iterations returns the counts that SCRAM-SHA-256 is offered with.
func (p *Passwords) Iterations() []int { return p.counts }

// Same tells whether a user's line is the same in another file.
func (p *Passwords) Same(name string, other *Passwords) bool {
	a, is := p.users[name]
	b, was := other.users[name]
	return is && was && reflect.DeepEqual(a, b)
}

// Users names all users.
func (p *Passwords) Users() (names []string) {
	for name := range p.users {
		names = append(names, name)
	}
	return names
}
