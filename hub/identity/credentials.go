package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

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
	c := &credential{
		Name:    name,
		Salt:    random[passwordLength:],
		Hash:    fastHash(random[passwordLength:], text[:]),
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
