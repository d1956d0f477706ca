// Package identity knows who may come in: the people of the home with their
// passwords and web sign-ins, and the credentials that devices connect with.
//
// A [Directory] is what pages ask as ui.People and what the broker asks at each
// CONNECT. Readers take an immutable value and never wait; a change is a turn,
// and is durable when the method that makes it returns. Errors that a person
// caused are the ones declared by package ui.
//
// No secret is kept in the clear. People choose their passwords, so these are
// hashed slowly, on one worker and outside every lock. Generated secrets
// (credentials, sign-in tokens) have at least 128 random bits, so a fast hash is
// enough, and a CONNECT costs next to nothing. Beside it a credential has what
// SCRAM-SHA-256 keeps of a password, for clients that will not say it.
package identity

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
	"time"

	"lar.home/mqtt"
)

// A Store is read once, by [Load].
type Store interface {
	Scan(prefix, from []byte, fn func(key, value []byte) bool) error
}

// A Config is what a Directory needs from the outside.
type Config struct {
	Store Store
	// Do runs a change as a turn and returns when it is on disk.
	Do func(ctx context.Context, fn func(t *mqtt.Turn) error) error
	// Ready says why nothing can be kept now, or nil; nil is always. Who signs
	// in then is let in all the same, and stays in until the next start.
	Ready func() error
	// File is where a copy of people and credentials is kept beside the
	// store, for the day the store cannot be read. Empty: nowhere.
	File string
	// AllowAnonymous lets clients of the local network connect without a
	// credential also when the home has an owner.
	AllowAnonymous bool
	// Revoked, if not nil, is told the identity of a credential that was
	// removed, once that is on disk.
	Revoked func(identity string)
	// Shut, if not nil, is called once the home has got its first owner and
	// that is on disk: who came without a credential may not stay. With
	// AllowAnonymous it is not called.
	Shut func()
	Rand io.Reader // nil: crypto/rand
	Log  *slog.Logger
}

// A Directory knows who may come in.
type Directory struct {
	cfg      Config
	slow     *slowHash
	tries    *tries
	state    atomic.Pointer[state]
	changing chan struct{} // holds one token while a change is made

	completing atomic.Bool // an older credential is being completed

	unsaved []mqtt.Write // what the store does not have yet; of who holds the token of changing
}

// state is everything a Directory knows. It is never changed, only replaced.
type state struct {
	home         string
	installation string                 // 32 hex digits
	people       map[string]*person     // by folded name
	signIns      map[tokenHash]*signIn  // by the hash of the token
	credentials  map[string]*credential // by name
}

func (s *state) clone() *state {
	c := *s
	c.people = maps.Clone(s.people)
	c.signIns = maps.Clone(s.signIns)
	c.credentials = maps.Clone(s.credentials)
	return &c
}

// Load reads the directory from its store. What the store has lost but the
// file beside it still holds is taken from there, so that a home whose store
// was damaged does not stand open to the first who comes; Save makes that
// durable.
func Load(cfg Config) (*Directory, error) {
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Directory{cfg: cfg, tries: newTries(), changing: make(chan struct{}, 1)}
	var err error
	if d.slow, err = newSlowHash(cfg.Rand); err != nil {
		return nil, err
	}
	s, err := readState(cfg.Store, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("read people: %w", err)
	}
	d.unsaved = d.recover(s)
	if s.installation == "" {
		id := make([]byte, 16)
		if _, err := io.ReadFull(cfg.Rand, id); err != nil {
			return nil, fmt.Errorf("make installation id: %w", err)
		}
		s.installation = hex.EncodeToString(id)
		d.unsaved = append(d.unsaved, s.homeWrite())
	}
	d.state.Store(s)
	return d, nil
}

// Save makes durable what Load had to make up or to recover, and brings the
// file beside the store up to date. It is called before anything changes, and
// again if it failed: what it could not save is saved with the next change.
func (d *Directory) Save(ctx context.Context) error {
	return d.change(ctx, func(*state) ([]mqtt.Write, error) { return nil, nil })
}

// change replaces the state by what edit makes of a copy of it, in a turn that
// writes what edit returns. One change is made at a time, so edit may take its
// time; the turn itself only writes.
func (d *Directory) change(ctx context.Context, edit func(s *state) ([]mqtt.Write, error)) error {
	return d.edit(ctx, false, edit)
}

// changeNow is change for what is worth doing also while nothing can be kept:
// it does not wait for a disk that hangs either.
func (d *Directory) changeNow(ctx context.Context, edit func(s *state) ([]mqtt.Write, error)) error {
	short, cancel := context.WithTimeout(ctx, nowWithin)
	defer cancel()
	err := d.edit(short, d.cfg.Ready != nil && d.cfg.Ready() != nil, edit)
	if errors.Is(err, errUnderWay) && ctx.Err() == nil {
		return nil
	}
	return err
}

// nowWithin is how long changeNow waits for the disk.
const nowWithin = 2 * time.Second

// errUnderWay reports a change that was made and is not known to be on disk.
var errUnderWay = errors.New("the disk has not answered yet")

func (d *Directory) edit(ctx context.Context, inMemory bool, edit func(s *state) ([]mqtt.Write, error)) error {
	select {
	case d.changing <- struct{}{}:
		defer func() { <-d.changing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	next := d.state.Load().clone()
	writes, err := edit(next)
	if err != nil {
		return err
	}
	writes = append(d.unsaved[:len(d.unsaved):len(d.unsaved)], writes...)
	if inMemory {
		d.unsaved = writes
		d.state.Store(next)
		return nil
	}
	if len(writes) > 0 {
		err = d.cfg.Do(ctx, func(t *mqtt.Turn) error {
			for _, w := range writes {
				t.Write(w.Key, w.Value)
			}
			d.state.Store(next)
			return nil
		})
		if err != nil && ctx.Err() != nil && d.state.Load() == next {
			err = fmt.Errorf("%w: %w", errUnderWay, err)
		}
		if err != nil {
			return err
		}
		d.unsaved = nil
	}
	if d.cfg.File != "" {
		if err := d.state.Load().writeFile(d.cfg.File); err != nil {
			d.cfg.Log.Warn("copy of people and credentials not written", "file", d.cfg.File, "err", err)
		}
	}
	return nil
}

// Home returns the home's name; empty until the first run.
func (d *Directory) Home() string { return d.state.Load().home }

// Installation returns the four hex digits that tell this Lar from others.
func (d *Directory) Installation() string {
	return strings.ToUpper(d.state.Load().installation[:4])
}

// HasOwner tells whether the first run is over.
func (d *Directory) HasOwner() bool { return d.state.Load().hasOwner() }
