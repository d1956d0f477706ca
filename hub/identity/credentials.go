package identity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"lar.home/hub/scram"
	"lar.home/mqtt"
	"lar.home/ui"
)

// maxCredentials is one for each of the clients a home may have.
const maxCredentials = 10_000

var errTooManyCredentials = errors.New("a home has at most 10,000 credentials")

// alphabet has 32 characters that nobody mistakes for another: 5 bits each.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// passwordLength makes 130 bits, and fits the 32 characters that the small
// firmwares keep for a password.
const passwordLength = 26

// Credentials returns the credentials by name.
func (d *Directory) Credentials() []ui.Credential {
	all := d.state.Load().credentialsByName()
	list := make([]ui.Credential, len(all))
	for i, c := range all {
		list[i] = ui.Credential{Name: c.Name, Created: c.Created}
		if ms := c.seen.Load(); ms != 0 {
			list[i].LastSeen = time.UnixMilli(ms)
		}
	}
	return list
}

// AddCredential makes a credential and returns its password, which is not kept.
func (d *Directory) AddCredential(ctx context.Context, name string) (password string, err error) {
	name = strings.TrimSpace(name)
	if !validName(name) {
		return "", ui.ErrBadName
	}
	var random [passwordLength + saltSize]byte
	if _, err := io.ReadFull(d.cfg.Rand, random[:]); err != nil {
		return "", fmt.Errorf("make password: %w", err)
	}
	var text [passwordLength]byte
	for i := range text {
		text[i] = alphabet[random[i]%32]
	}
	password = string(text[:])
	verifier, err := d.verifier(text[:])
	if err != nil {
		return "", err
	}
	c := &credential{
		Name:    name,
		Salt:    random[passwordLength:],
		Hash:    fastHash(random[passwordLength:], text[:]),
		Scram:   &verifier,
		Created: now(),
		seen:    new(atomic.Int64),
	}
	err = d.change(ctx, func(s *state) ([]mqtt.Write, error) {
		if s.credentials[name] != nil {
			return nil, ui.ErrNameTaken
		}
		if len(s.credentials) >= maxCredentials {
			return nil, errTooManyCredentials
		}
		s.credentials[name] = c
		return []mqtt.Write{c.write()}, nil
	})
	if err != nil {
		return "", err
	}
	return password, nil
}

// RemoveCredential ends a credential.
func (d *Directory) RemoveCredential(ctx context.Context, name string) error {
	err := d.change(ctx, func(s *state) ([]mqtt.Write, error) {
		if s.credentials[name] == nil {
			return nil, ui.ErrNoCredential
		}
		delete(s.credentials, name)
		return []mqtt.Write{{Key: key(credentialKind, name)}}, nil
	})
	if err == nil && d.cfg.Revoked != nil {
		d.cfg.Revoked(credentialIdentity(name))
	}
	return err
}

// verifier makes what SCRAM-SHA-256 keeps of a password. It is slow: some
// milliseconds on a Pi.
func (d *Directory) verifier(password []byte) (scram.Verifier, error) {
	salt := make([]byte, scram.SaltSize)
	if _, err := io.ReadFull(d.cfg.Rand, salt); err != nil {
		return scram.Verifier{}, fmt.Errorf("make salt: %w", err)
	}
	return scram.New(password, salt, scram.Iterations)
}

// complete makes the verifier that the credential of an earlier release has
// not, now that its password is at hand. One is made at a time, beside the
// CONNECT; whoever comes meanwhile has it made another time.
func (d *Directory) complete(name string, password []byte) {
	if !d.completing.CompareAndSwap(false, true) {
		return
	}
	password = bytes.Clone(password)
	go func() {
		defer d.completing.Store(false)
		v, err := d.verifier(password)
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), completeWithin)
			defer cancel()
			err = d.change(ctx, func(s *state) ([]mqtt.Write, error) {
				c := s.credentials[name]
				if c == nil || c.Scram != nil || !c.matches(password) {
					return nil, nil
				}
				whole := *c
				whole.Scram = &v
				s.credentials[name] = &whole
				return []mqtt.Write{whole.write()}, nil
			})
		}
		if err != nil {
			d.cfg.Log.Warn("credential not completed", "name", name, "err", err)
		}
	}()
}

// completeWithin bounds the wait for the disk.
const completeWithin = 10 * time.Second

// Verifier returns what SCRAM-SHA-256 keeps of a credential.
func (d *Directory) Verifier(name string) (v scram.Verifier, exists bool) {
	c := d.state.Load().credentials[name]
	if c == nil || c.Scram == nil {
		return v, false
	}
	return *c.Scram, true
}

// Secret returns bytes that only this house knows and that never change.
func (d *Directory) Secret() []byte {
	return fastHash([]byte("secret of "), []byte(d.state.Load().installation))
}

// Seen notes that a credential was used.
func (d *Directory) Seen(name string) {
	if c := d.state.Load().credentials[name]; c != nil {
		c.seen.Store(time.Now().UnixMilli())
	}
}

// matches tells whether password is the one the credential was made with.
func (c *credential) matches(password []byte) bool {
	return subtle.ConstantTimeCompare(fastHash(c.Salt, password), c.Hash) == 1
}

func fastHash(salt, password []byte) []byte {
	h := sha256.New()
	h.Write(salt)
	h.Write(password)
	return h.Sum(nil)
}

func credentialIdentity(name string) string { return credentialPrefix + name }

const credentialPrefix = "credential:"

// OfUser returns the identity of a user name, wherever it was verified.
func OfUser(name string) string { return credentialIdentity(name) }

// User returns the user name of an identity; empty for those who came without.
func User(identity string) string { return strings.TrimPrefix(identity, credentialPrefix) }
