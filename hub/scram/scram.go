// Package scram is the server's side of SCRAM-SHA-256, RFC 5802 and RFC 7677,
// without channel binding.
//
// What is kept of a password is a [Verifier]: whoever reads it can neither sign
// in with it nor tell the password but by guessing, and the server needs no
// slow work at a sign-in, since the client does that. A [Conversation] is one
// sign-in. It answers for a name that does not exist as for one that does, to
// the end.
package scram

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Method is the name of the mechanism, and of the Authentication Method of
// MQTT.
const Method = "SCRAM-SHA-256"

// Iterations is what new verifiers are made with. RFC 7677 wants 4,096 at
// least; the client does this work at each sign-in, small devices included.
const Iterations = 10_000

// Bounds of what a verifier may hold and a client may send.
const (
	SaltSize      = 16
	minIterations = 4096
	maxIterations = 1_000_000
	maxName       = 256
	maxNonce      = 256
	maxMessage    = 2048
)

// A Verifier is what is kept of a password, RFC 5802 section 3.
type Verifier struct {
	Iterations int
	Salt       []byte
	StoredKey  []byte
	ServerKey  []byte
}

// New makes a verifier. It is slow on purpose.
func New(password, salt []byte, iterations int) (Verifier, error) {
	salted, err := pbkdf2.Key(sha256.New, string(password), salt, iterations, sha256.Size)
	if err != nil {
		return Verifier{}, err
	}
	stored := sha256.Sum256(sum(salted, "Client Key"))
	return Verifier{Iterations: iterations, Salt: salt, StoredKey: stored[:], ServerKey: sum(salted, "Server Key")}, nil
}

// Matches tells whether a password is the one the verifier was made of. It is
// as slow as New.
func (v *Verifier) Matches(password []byte) bool {
	got, err := New(password, v.Salt, v.Iterations)
	return err == nil && subtle.ConstantTimeCompare(got.StoredKey, v.StoredKey) == 1
}

// valid tells whether a verifier that was read can be one.
func (v *Verifier) valid() bool {
	return v.Iterations >= minIterations && v.Iterations <= maxIterations && len(v.Salt) > 0 && len(v.Salt) <= maxName &&
		len(v.StoredKey) == sha256.Size && len(v.ServerKey) == sha256.Size
}

var errForm = errors.New("it is no SCRAM-SHA-256 verifier")

// MarshalText writes the form that other servers keep too:
// SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, in base64.
func (v Verifier) MarshalText() ([]byte, error) {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, "%s$%d:%s$%s:%s", Method, v.Iterations, b64(v.Salt), b64(v.StoredKey), b64(v.ServerKey)), nil
}

// UnmarshalText reads what MarshalText writes.
func (v *Verifier) UnmarshalText(text []byte) error {
	f := strings.FieldsFunc(string(text), func(r rune) bool { return r == '$' || r == ':' })
	if len(f) != 5 || f[0] != Method || strings.Count(string(text), "$") != 2 || strings.Count(string(text), ":") != 2 {
		return errForm
	}
	n, err := strconv.Atoi(f[1])
	if err != nil {
		return errForm
	}
	next := Verifier{Iterations: n}
	for i, field := range []*[]byte{&next.Salt, &next.StoredKey, &next.ServerKey} {
		if *field, err = base64.StdEncoding.DecodeString(f[2+i]); err != nil {
			return errForm
		}
	}
	if !next.valid() {
		return errForm
	}
	*v = next
	return nil
}

// Nobody returns the verifier of a name that does not exist: nobody can answer
// it, and it is the same each time the name is asked for, so that it looks like
// any other. secret is the house's own; iterations are those in use.
func Nobody(secret []byte, name string, iterations ...int) Verifier {
	v := Verifier{
		Iterations: Iterations,
		Salt:       sum(secret, "salt of "+name)[:SaltSize],
		StoredKey:  sum(secret, "stored key of "+name),
		ServerKey:  sum(secret, "server key of "+name),
	}
	if n := len(iterations); n > 0 {
		v.Iterations = iterations[int(sum(secret, "iterations of "+name)[0])*n/256]
	}
	return v
}

// What a sign-in fails by.
var (
	// ErrMessage says that the client sent what RFC 5802 does not allow, or
	// asks for what is not offered.
	ErrMessage = errors.New("the message is not one of SCRAM")
	// ErrProof says that the client does not know the password, or that the
	// name does not exist.
	ErrProof = errors.New("the proof is wrong")
)

// A Conversation is one sign-in: Next is called with each message.
type Conversation struct {
	lookup func(name string) (v Verifier, exists bool)
	rand   io.Reader

	name     string
	exists   bool
	verifier Verifier
	header   string // gs2-header
	nonce    string // the client's and ours
	first    string // client-first-message-bare and server-first-message, with a comma behind
	steps    int
}

// Start begins a sign-in. lookup finds the verifier of a name, or one of
// Nobody; rand makes the nonce.
func Start(lookup func(name string) (v Verifier, exists bool), rand io.Reader) *Conversation {
	return &Conversation{lookup: lookup, rand: rand}
}

// Name is who signs in; empty before the first message.
func (c *Conversation) Name() string { return c.name }

// Next takes a message of the client and returns what it is answered with; done
// says that the client has proved itself. An empty first message asks the
// client to begin, as servers of mechanisms do where it could not by itself.
func (c *Conversation) Next(message []byte) (answer []byte, done bool, err error) {
	if len(message) > maxMessage || !utf8.Valid(message) {
		return nil, false, ErrMessage
	}
	switch {
	case c.nonce != "":
		answer, err = c.proof(string(message))
		c.nonce = "" // one try
		c.steps = 2
		return answer, err == nil, err
	case c.steps > 1 || c.steps == 1 && len(message) == 0:
		return nil, false, ErrMessage
	case len(message) == 0:
		c.steps++
		return nil, false, nil
	}
	answer, err = c.begin(string(message))
	return answer, false, err
}

// begin takes client-first-message.
func (c *Conversation) begin(message string) ([]byte, error) {
	flag, rest, ok := strings.Cut(message, ",")
	if !ok || flag != "n" && flag != "y" { // p=: channel binding, which is not offered
		return nil, ErrMessage
	}
	as, bare, ok := strings.Cut(rest, ",")
	if !ok {
		return nil, ErrMessage
	}
	c.header = flag + "," + as + ","
	fields := strings.Split(bare, ",")
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "n=") || !strings.HasPrefix(fields[1], "r=") {
		return nil, ErrMessage // m= too: an extension that has to be understood
	}
	name, ok := saslName(fields[0][2:])
	if !ok || name == "" || len(name) > maxName {
		return nil, ErrMessage
	}
	if as != "" { // to act as somebody else
		if other, ok := saslName(strings.TrimPrefix(as, "a=")); !strings.HasPrefix(as, "a=") || !ok || other != name {
			return nil, ErrMessage
		}
	}
	nonce := fields[1][2:]
	if nonce == "" || len(nonce) > maxNonce || !printable(nonce) {
		return nil, ErrMessage
	}
	var ours [18]byte
	if _, err := io.ReadFull(c.rand, ours[:]); err != nil {
		return nil, fmt.Errorf("make nonce: %w", err)
	}
	c.name = name
	c.verifier, c.exists = c.lookup(name)
	c.nonce = nonce + base64.StdEncoding.EncodeToString(ours[:])
	answer := fmt.Sprintf("r=%s,s=%s,i=%d", c.nonce, base64.StdEncoding.EncodeToString(c.verifier.Salt), c.verifier.Iterations)
	c.first = bare + "," + answer + ","
	return []byte(answer), nil
}

// proof takes client-final-message.
func (c *Conversation) proof(message string) ([]byte, error) {
	at := strings.LastIndex(message, ",p=")
	if at < 0 {
		return nil, ErrMessage
	}
	without := message[:at]
	given, err := base64.StdEncoding.DecodeString(message[at+3:])
	if err != nil || len(given) != sha256.Size {
		return nil, ErrMessage
	}
	fields := strings.Split(without, ",")
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "c=") || !strings.HasPrefix(fields[1], "r=") {
		return nil, ErrMessage
	}
	if header, err := base64.StdEncoding.DecodeString(fields[0][2:]); err != nil || string(header) != c.header {
		return nil, ErrMessage
	}
	if fields[1][2:] != c.nonce {
		return nil, ErrMessage
	}
	auth := c.first + without
	key := sum(c.verifier.StoredKey, auth)
	subtle.XORBytes(key, key, given)
	stored := sha256.Sum256(key)
	if subtle.ConstantTimeCompare(stored[:], c.verifier.StoredKey) != 1 || !c.exists {
		return nil, ErrProof
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(sum(c.verifier.ServerKey, auth))), nil
}

// saslName decodes a saslname: =2C is a comma, =3D is =.
func saslName(s string) (string, bool) {
	var b strings.Builder
	for {
		plain, rest, found := strings.Cut(s, "=")
		b.WriteString(plain)
		if !found {
			break
		}
		switch {
		case strings.HasPrefix(rest, "2C"):
			b.WriteByte(',')
		case strings.HasPrefix(rest, "3D"):
			b.WriteByte('=')
		default:
			return "", false
		}
		s = rest[2:]
	}
	name := b.String()
	return name, strings.IndexByte(name, 0) < 0
}

// printable tells whether a nonce is printable ASCII, without a comma.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] >= 0x7f || s[i] == ',' {
			return false
		}
	}
	return true
}

func sum(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	io.WriteString(h, text)
	return h.Sum(nil)
}
