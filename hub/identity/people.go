package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"lar.home/mqtt"
	"lar.home/ui"
)

const (
	// SignInLasts is how long a browser stays signed in.
	SignInLasts = 90 * 24 * time.Hour

	maxPeople  = 64
	maxSignIns = 256 // of all people; then the oldest ends

	minPassword = 8 // characters
)

// Errors beyond those that package ui explains.
var (
	errTooManyPeople = errors.New("a home has at most 64 people")
	errLongPassword  = errors.New("a password has at most 1024 bytes")
	errBadRole       = errors.New("a role is owner, adult, child or guest")
)

// FirstRun names the home, makes its owner and signs them in.
func (d *Directory) FirstRun(ctx context.Context, home, name, password string) (token string, err error) {
	if d.HasOwner() {
		return "", ui.ErrOwnerExists // before a hash is paid for
	}
	home = strings.TrimSpace(home)
	if !validHome(home) {
		return "", ui.ErrBadName
	}
	owner, err := d.newPerson(ctx, name, password, ui.Owner)
	if err != nil {
		return "", err
	}
	token, hash, err := d.newToken()
	if err != nil {
		return "", err
	}
	err = d.change(ctx, func(s *state) ([]mqtt.Write, error) {
		if s.hasOwner() {
			return nil, ui.ErrOwnerExists
		}
		s.home = home
		if err := s.addPerson(owner); err != nil {
			return nil, err
		}
		writes := append(s.addSignIn(owner, hash), owner.write(), s.homeWrite())
		return writes, nil
	})
	if err != nil {
		return "", err
	}
	d.shut()
	return token, nil
}

// shut says that the house stands open no more.
func (d *Directory) shut() {
	if d.cfg.AllowAnonymous {
		return
	}
	d.cfg.Log.Info("this home has an owner now; clients need a credential from now on")
	if d.cfg.Shut != nil {
		d.cfg.Shut()
	}
}

// AddPerson makes an account. With home it also names the home; a home that
// gets an owner and has no name is called "Home".
func (d *Directory) AddPerson(ctx context.Context, home, name, password string, role ui.Role) error {
	switch role {
	case ui.Owner, ui.Adult, ui.Child, ui.Guest:
	default:
		return errBadRole
	}
	home = strings.TrimSpace(home)
	if home != "" && !validHome(home) {
		return ui.ErrBadName
	}
	p, err := d.newPerson(ctx, name, password, role)
	if err != nil {
		return err
	}
	first := false
	err = d.change(ctx, func(s *state) ([]mqtt.Write, error) {
		first = role == ui.Owner && !s.hasOwner()
		if err := s.addPerson(p); err != nil {
			return nil, err
		}
		writes := []mqtt.Write{p.write()}
		name := home
		if name == "" && s.home == "" && role == ui.Owner {
			name = "Home"
		}
		if name != "" {
			s.home = name
			writes = append(writes, s.homeWrite())
		}
		return writes, nil
	})
	if err == nil && first {
		d.shut()
	}
	return err
}

// SignIn returns a token for the cookie of somebody who knows the password.
// A name that is not known takes the same time and has the same answer as a
// wrong password.
func (d *Directory) SignIn(ctx context.Context, name, password string, from netip.Addr) (token string, err error) {
	name = fold(name)
	if len(name) > 4*maxName || len(password) > maxPassword {
		return "", ui.ErrWrongPassword // nobody is called that; nothing to find out
	}
	if !d.tries.take(name, from) {
		return "", ui.ErrTooManyTries
	}
	stored := ""
	if p := d.state.Load().people[name]; p != nil {
		stored = p.Password
	}
	ok, err := d.slow.verify(ctx, stored, password)
	if err != nil {
		return "", err
	}
	if !ok {
		d.cfg.Log.Info("sign-in refused", "remote", from)
		return "", ui.ErrWrongPassword
	}
	d.tries.giveBack(name, from)

	token, hash, err := d.newToken()
	if err != nil {
		return "", err
	}
	err = d.changeNow(ctx, func(s *state) ([]mqtt.Write, error) {
		p := s.people[name]
		if p == nil || p.Password != stored {
			return nil, ui.ErrWrongPassword // changed since it was verified
		}
		return s.addSignIn(p, hash), nil
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// SignOut ends what a token was given for.
func (d *Directory) SignOut(ctx context.Context, token string) error {
	hash := tokenHash(sha256.Sum256([]byte(token)))
	return d.changeNow(ctx, func(s *state) ([]mqtt.Write, error) {
		if s.signIns[hash] == nil {
			return nil, nil
		}
		delete(s.signIns, hash)
		return []mqtt.Write{{Key: key(signInKind, string(hash[:]))}}, nil
	})
}

// Who returns the person a token was given to. It is cheap.
func (d *Directory) Who(token string) (ui.Person, bool) {
	s := d.state.Load()
	in := s.signIns[sha256.Sum256([]byte(token))]
	if in == nil || time.Since(in.Created) > SignInLasts {
		return ui.Person{}, false
	}
	for _, p := range s.people {
		if p.ID == in.Person {
			return ui.Person{ID: p.ID, Name: p.Name, Role: p.Role}, true
		}
	}
	return ui.Person{}, false
}

// newPerson checks what a person typed and hashes the password.
func (d *Directory) newPerson(ctx context.Context, name, password string, role ui.Role) (*person, error) {
	name = strings.TrimSpace(name)
	if !validName(name) {
		return nil, ui.ErrBadName
	}
	switch {
	case utf8.RuneCountInString(password) < minPassword:
		return nil, ui.ErrShortPassword
	case len(password) > maxPassword:
		return nil, errLongPassword
	}
	if d.state.Load().people[fold(name)] != nil {
		return nil, ui.ErrNameTaken
	}
	hash, err := d.slow.hash(ctx, password)
	if err != nil {
		return nil, err
	}
	id := make([]byte, 8)
	if _, err := io.ReadFull(d.cfg.Rand, id); err != nil {
		return nil, fmt.Errorf("make id: %w", err)
	}
	return &person{ID: hex.EncodeToString(id), Name: name, Role: role, Password: hash, Created: now()}, nil
}

// newToken returns 256 random bits for a cookie, and the hash that is kept.
func (d *Directory) newToken() (token string, hash tokenHash, err error) {
	var b [32]byte
	if _, err := io.ReadFull(d.cfg.Rand, b[:]); err != nil {
		return "", tokenHash{}, fmt.Errorf("make token: %w", err)
	}
	token = base64.RawURLEncoding.EncodeToString(b[:])
	return token, sha256.Sum256([]byte(token)), nil
}

func (s *state) hasOwner() bool {
	for _, p := range s.people {
		if p.Role == ui.Owner {
			return true
		}
	}
	return false
}

func (s *state) addPerson(p *person) error {
	if s.people[fold(p.Name)] != nil {
		return ui.ErrNameTaken
	}
	if len(s.people) >= maxPeople {
		return errTooManyPeople
	}
	s.people[fold(p.Name)] = p
	return nil
}

// addSignIn also ends those that are over, and the oldest if there are too many.
func (s *state) addSignIn(p *person, hash tokenHash) []mqtt.Write {
	in := &signIn{Person: p.ID, Created: now()}
	writes := []mqtt.Write{in.write(hash)}
	end := func(h tokenHash) {
		delete(s.signIns, h)
		writes = append(writes, mqtt.Write{Key: key(signInKind, string(h[:]))})
	}
	for h, old := range s.signIns {
		if time.Since(old.Created) > SignInLasts {
			end(h)
		}
	}
	for len(s.signIns) >= maxSignIns {
		var oldest tokenHash
		var at time.Time
		for h, old := range s.signIns {
			if at.IsZero() || old.Created.Before(at) {
				oldest, at = h, old.Created
			}
		}
		end(oldest)
	}
	s.signIns[hash] = in
	return writes
}

// now is the time of day to the second, as it is stored.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

// fold makes names that people would call the same equal.
func fold(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// maxName is the length of a name in characters.
const maxName = 64

// validName tells whether a name is what ui.ErrBadName asks for.
func validName(name string) bool {
	n := utf8.RuneCountInString(name)
	if n < 1 || n > maxName || !utf8.ValidString(name) || strings.TrimSpace(name) != name {
		return false
	}
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) && !strings.ContainsRune(" .-_", r) {
			return false
		}
	}
	return true
}

// validHome is more lenient: a home may be called "Anna's & Ben's".
func validHome(name string) bool {
	n := utf8.RuneCountInString(name)
	if n < 1 || n > maxName || !utf8.ValidString(name) {
		return false
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
