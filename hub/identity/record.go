package identity

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"lar.home/hub/scram"
	"lar.home/mqtt"
	"lar.home/ui"
)

// Records stand under 'x' and a byte for their kind:
//
//	x h                  the home
//	x p <id>             a person
//	x s <token hash>     a web sign-in
//	x c <name>           a credential
//
// Their values are JSON: there are few of them, and a person with a text
// editor should be able to read the copy beside the store.
const (
	homeKind       = 'h'
	personKind     = 'p'
	signInKind     = 's'
	credentialKind = 'c'
)

func key(kind byte, id string) []byte { return append([]byte{'x', kind}, id...) }

type homeRecord struct {
	Name         string `json:"name,omitempty"`
	Installation string `json:"installation"`
}

type person struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Role     ui.Role   `json:"role"`
	Password string    `json:"password"` // as slowHash writes it
	Created  time.Time `json:"created"`
}

type tokenHash [32]byte

type signIn struct {
	Person  string    `json:"person"` // its ID
	Created time.Time `json:"created"`
}

type credential struct {
	Name string   `json:"name"`
	Salt hexBytes `json:"salt"`
	Hash hexBytes `json:"hash"` // SHA-256 of salt and password
	// Scram is nil for a credential of a release that had none; it is made
	// when its client next says the password.
	Scram   *scram.Verifier `json:"scram,omitempty"`
	Created time.Time       `json:"created"`

	seen *atomic.Int64 // unix milliseconds of the last CONNECT; outlives the state
}

type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.AppendDecode(nil, text)
	return err
}

func (s *state) homeWrite() mqtt.Write {
	return record(key(homeKind, ""), homeRecord{s.home, s.installation})
}

func (p *person) write() mqtt.Write     { return record(key(personKind, p.ID), p) }
func (c *credential) write() mqtt.Write { return record(key(credentialKind, c.Name), c) }

func (s *signIn) write(h tokenHash) mqtt.Write {
	return record(key(signInKind, string(h[:])), s)
}

func record(key []byte, v any) mqtt.Write {
	value, err := json.Marshal(v)
	if err != nil {
		panic("identity: " + err.Error()) // our own plain structs always encode
	}
	return mqtt.Write{Key: key, Value: value}
}

// readState reads what the store holds. A record that cannot be read is left
// out and reported: the rest of the home should not suffer for it.
func readState(store Store, log *slog.Logger) (*state, error) {
	s := emptyState()
	err := store.Scan([]byte{'x'}, nil, func(key, value []byte) bool {
		if err := s.readRecord(key, value); err != nil {
			log.Warn("record not readable", "kind", string(key[:min(2, len(key))]), "err", err)
		}
		return true
	})
	return s, err
}

func emptyState() *state {
	return &state{
		people:      map[string]*person{},
		signIns:     map[tokenHash]*signIn{},
		credentials: map[string]*credential{},
	}
}

func (s *state) readRecord(key, value []byte) error {
	if len(key) < 2 {
		return nil
	}
	id := string(key[2:])
	switch key[1] {
	case homeKind:
		var r homeRecord
		if err := json.Unmarshal(value, &r); err != nil {
			return err
		}
		s.home = r.Name
		if id, err := hex.DecodeString(r.Installation); err == nil && len(id) == 16 {
			s.installation = r.Installation
		}
	case personKind:
		p := &person{}
		if err := json.Unmarshal(value, p); err != nil {
			return err
		}
		p.ID = id
		s.people[fold(p.Name)] = p
	case signInKind:
		in := &signIn{}
		if err := json.Unmarshal(value, in); err != nil {
			return err
		}
		if len(id) != len(tokenHash{}) {
			return fmt.Errorf("token hash of %d bytes", len(id))
		}
		s.signIns[tokenHash([]byte(id))] = in
	case credentialKind:
		c := &credential{seen: new(atomic.Int64)}
		if err := json.Unmarshal(value, c); err != nil {
			return err
		}
		c.Name = id
		s.credentials[id] = c
	}
	return nil
}
