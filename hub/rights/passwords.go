package rights

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// Bounds of what a hash may ask for, and what new ones do.
const (
	maxIterations = 1_000_000
	iterations    = 20_000
	saltSize      = 16
	maxPassword   = 1024
)

// Passwords are the users of a password file.
type Passwords struct {
	users  map[string]hash
	nobody hash
	slow   chan struct{}
	secret [32]byte

	mu    sync.Mutex // guards known
	known map[string][32]byte
}

// hash is PBKDF2 with SHA-512, or SHA-512 with the salt behind the password.
type hash struct {
	iterations int // 0: plain SHA-512
	salt, sum  []byte
}

// ReadPasswords reads a password file: lines of a name, a colon and a hash in
// one of the forms of mosquitto_passwd 2.0, $7$ and $6$.
func ReadPasswords(file string) (*Passwords, error) {
	lines, err := readLines(file)
	if err != nil {
		return nil, err
	}
	p := &Passwords{
		users:  make(map[string]hash),
		nobody: hash{iterations: iterations, salt: make([]byte, saltSize), sum: make([]byte, sha512.Size)},
		slow:   make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)),
		known:  make(map[string][32]byte),
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
	}
	return p, nil
}

func parseHash(text string) (h hash, err error) {
	f := strings.Split(text, "$")
	if len(f) < 2 || f[0] != "" {
		return h, errHash
	}
	switch {
	case f[1] == "7" && len(f) == 5:
		if h.iterations, err = strconv.Atoi(f[2]); err != nil || h.iterations < 1 || h.iterations > maxIterations {
			return h, errHash
		}
	case f[1] == "6" && len(f) == 4:
	default:
		return h, errHash
	}
	if h.salt, err = base64.StdEncoding.DecodeString(f[len(f)-2]); err != nil || len(h.salt) > 256 {
		return h, errHash
	}
	if h.sum, err = base64.StdEncoding.DecodeString(f[len(f)-1]); err != nil || len(h.sum) != sha512.Size {
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
	h := hash{iterations: iterations, salt: make([]byte, saltSize)}
	rand.Read(h.salt)
	sum := h.of([]byte(password))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s:$7$%d$%s$%s", name, iterations, b64(h.salt), b64(sum)), nil
}

func (h *hash) of(password []byte) []byte {
	if h.iterations == 0 {
		sum := sha512.Sum512(append(append([]byte(nil), password...), h.salt...))
		return sum[:]
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
	p.slow <- struct{}{}
	ok := subtle.ConstantTimeCompare(h.of(password), h.sum) == 1 && exists
	<-p.slow
	if ok {
		p.mu.Lock()
		p.known[name] = quick
		p.mu.Unlock()
	}
	return ok
}

// Users names all users.
func (p *Passwords) Users() (names []string) {
	for name := range p.users {
		names = append(names, name)
	}
	return names
}
