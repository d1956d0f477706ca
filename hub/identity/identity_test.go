package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/mqtttest"
	"lar.home/mqtt/packet"
	"lar.home/ui"
)

var _ ui.People = (*Directory)(nil)

const goodPassword = "correct horse"

var phone = netip.MustParseAddr("192.168.1.30")

// A house runs turns over a store in memory, as the broker does.
type house struct {
	store *mqtttest.Store
	turns uint64
	err   error // what Do answers instead
}

func newHouse() *house { return &house{store: mqtttest.NewStore()} }

func (h *house) do(ctx context.Context, fn func(t *mqtt.Turn) error) error {
	if h.err != nil {
		return h.err
	}
	h.turns++
	t := &mqtt.Turn{Number: h.turns}
	if err := fn(t); err != nil {
		return err
	}
	h.store.Submit(t.Number, t.Writes(), true)
	h.store.Flush()
	return nil
}

// open is the directory as a hub that starts has it.
func (h *house) open(t *testing.T, file string, edit ...func(*Config)) *Directory {
	t.Helper()
	cfg := Config{Store: h.store, Do: h.do, File: file}
	for _, e := range edit {
		e(&cfg)
	}
	d, err := Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// restart is the next hub on what this one had on disk.
func (h *house) restart() *house { return &house{store: h.store.Reopen(false)} }

func firstRun(t *testing.T, d *Directory) (token string) {
	t.Helper()
	token, err := d.FirstRun(t.Context(), "Elm Street", "Jo", goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func addCredential(t *testing.T, d *Directory, name string) (password string) {
	t.Helper()
	password, err := d.AddCredential(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return password
}

func TestFirstRun(t *testing.T) {
	h := newHouse()
	d := h.open(t, "")
	if d.HasOwner() || d.Home() != "" {
		t.Fatalf("a new home has owner %v and the name %q", d.HasOwner(), d.Home())
	}
	token := firstRun(t, d)
	if _, err := d.FirstRun(t.Context(), "Mine", "Eve", goodPassword); err != ui.ErrOwnerExists {
		t.Errorf("the second first run answers %v, want %v", err, ui.ErrOwnerExists)
	}
	want, ok := d.Who(token)
	if !ok || want.Name != "Jo" || want.Role != ui.Owner {
		t.Errorf("Who = %+v, %v, want the owner Jo", want, ok)
	}
	if _, ok := d.Who(token + "x"); ok {
		t.Error("another token is taken for the owner's")
	}

	again := h.restart().open(t, "")
	if !again.HasOwner() || again.Home() != "Elm Street" || again.Installation() != d.Installation() {
		t.Errorf("after a restart: owner %v, home %q, installation %q, was %q",
			again.HasOwner(), again.Home(), again.Installation(), d.Installation())
	}
	if who, ok := again.Who(token); !ok || who != want {
		t.Errorf("after a restart, Who = %+v, %v, want %+v", who, ok, want)
	}
}

func TestFirstRunTogether(t *testing.T) {
	d := newHouse().open(t, "")
	results := make(chan error)
	for range 4 {
		go func() {
			_, err := d.FirstRun(t.Context(), "Home", "Jo", goodPassword)
			results <- err
		}()
	}
	owners := 0
	for range 4 {
		switch err := <-results; err {
		case nil:
			owners++
		case ui.ErrOwnerExists, ui.ErrNameTaken:
		default:
			t.Error(err)
		}
	}
	if owners != 1 {
		t.Errorf("%d of 4 first runs at once made an owner, want 1", owners)
	}
}

func TestWhatPeopleType(t *testing.T) {
	d := newHouse().open(t, "")
	tests := []struct {
		home, name, password string
		want                 error
	}{
		{"", "Jo", goodPassword, ui.ErrBadName},
		{"  ", "Jo", goodPassword, ui.ErrBadName},
		{strings.Repeat("x", 65), "Jo", goodPassword, ui.ErrBadName},
		{"a\x00b", "Jo", goodPassword, ui.ErrBadName},
		{"Home", "", goodPassword, ui.ErrBadName},
		{"Home", "<b>", goodPassword, ui.ErrBadName},
		{"Home", strings.Repeat("ж", 65), goodPassword, ui.ErrBadName},
		{"Home", "Jo", "1234567", ui.ErrShortPassword},
		{"Home", "Jo", strings.Repeat("x", 1025), errLongPassword},
		{"Anna's & Ben's", strings.Repeat("ж", 64), "pässwörd", nil},
	}
	for _, tt := range tests {
		if _, err := d.FirstRun(t.Context(), tt.home, tt.name, tt.password); err != tt.want {
			t.Errorf("FirstRun(%.20q, %.20q, %.20q) = %v, want %v", tt.home, tt.name, tt.password, err, tt.want)
		}
	}
}

func TestAddPerson(t *testing.T) {
	h := newHouse()
	d := h.open(t, "")
	if err := d.AddPerson(t.Context(), "Elm Street", "Jo", goodPassword, ui.Owner); err != nil {
		t.Fatal(err)
	}
	if err := d.AddPerson(t.Context(), "", "JO ", goodPassword, ui.Adult); err != ui.ErrNameTaken {
		t.Errorf("a second Jo: %v, want %v", err, ui.ErrNameTaken)
	}
	if err := d.AddPerson(t.Context(), "", "Sam", goodPassword, "king"); err != errBadRole {
		t.Errorf("a king: %v, want %v", err, errBadRole)
	}
	again := h.restart().open(t, "")
	if again.Home() != "Elm Street" || !again.HasOwner() {
		t.Errorf("after a restart the home is %q, with owner %v", again.Home(), again.HasOwner())
	}
	if _, err := again.SignIn(t.Context(), "jo", goodPassword, phone); err != nil {
		t.Errorf("Jo cannot sign in: %v", err)
	}
}

func TestSignIn(t *testing.T) {
	h := newHouse()
	d := h.open(t, "")
	firstRun(t, d)
	token, err := d.SignIn(t.Context(), " jo ", goodPassword, phone)
	if err != nil {
		t.Fatal(err)
	}
	if who, ok := d.Who(token); !ok || who.Name != "Jo" {
		t.Errorf("Who = %+v, %v, want Jo", who, ok)
	}
	for _, tt := range []struct{ name, password string }{
		{"Jo", "correct hors"}, {"Jo", ""}, {"Nobody", goodPassword}, {"", ""},
		{"Jo", strings.Repeat("x", 1<<20)}, {strings.Repeat("x", 1<<20), "x"},
	} {
		if _, err := d.SignIn(t.Context(), tt.name, tt.password, phone); err != ui.ErrWrongPassword {
			t.Errorf("SignIn(%.10q, %.10q) = %v, want %v", tt.name, tt.password, err, ui.ErrWrongPassword)
		}
	}
	if err := d.SignOut(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if _, ok := h.restart().open(t, "").Who(token); ok {
		t.Error("a restart brings back who had signed out")
	}
	if _, ok := d.Who(token); ok {
		t.Error("who has signed out is still known")
	}
}

// An unknown name must not be told from a known one by the time it takes.
func TestUnknownNameTakesAsLong(t *testing.T) {
	d := newHouse().open(t, "")
	firstRun(t, d)
	quickest := func(name string) time.Duration {
		best := time.Hour
		for range 3 {
			d.tries = newTries()
			start := time.Now()
			if _, err := d.SignIn(t.Context(), name, "wrong password", phone); err != ui.ErrWrongPassword {
				t.Fatal(err)
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	known, unknown := quickest("Jo"), quickest("Nobody")
	if unknown < known/3 || known < unknown/3 {
		t.Errorf("an unknown name takes %v, a known one %v", unknown, known)
	}
}

func TestTooManyTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := newTries()
		take := func(name, from string) bool { return tries.take(name, netip.MustParseAddr(from)) }

		for i := range triesPerPair {
			if !take("jo", "192.168.1.30") {
				t.Fatalf("try %d is refused", i+1)
			}
		}
		if take("jo", "192.168.1.30") {
			t.Error("one try too many of one name from one address is let in")
		}
		if !take("jo", "192.168.1.31") {
			t.Error("Jo's own phone is refused because another guesses")
		}
		for range triesPerSource - triesPerPair {
			take("sam", "192.168.1.30")
		}
		if take("eve", "192.168.1.30") {
			t.Error("one try too many from one address is let in")
		}
		for i := range 100 {
			take("kim", netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String())
		}
		if take("kim", "10.0.1.1") {
			t.Error("one try too many of one name is let in")
		}
		for i := range triesPerPair {
			take("ann", "fd00::"+string(rune('1'+i)))
		}
		if take("ann", "fd00::ffff") {
			t.Error("an IPv6 host gets around the limit by its other addresses")
		}

		time.Sleep(tryWindow)
		if !take("jo", "192.168.1.30") || !take("kim", "10.0.1.1") {
			t.Error("a minute later, tries are still refused")
		}
	})
}

func TestTriesAreGivenBack(t *testing.T) {
	d := newHouse().open(t, "")
	firstRun(t, d)
	for i := range triesPerPair + 2 {
		if _, err := d.SignIn(t.Context(), "Jo", goodPassword, phone); err != nil {
			t.Fatalf("sign-in %d with the right password: %v", i+1, err)
		}
	}
	for range triesPerPair {
		d.SignIn(t.Context(), "Jo", "wrong password", phone)
	}
	if _, err := d.SignIn(t.Context(), "Jo", goodPassword, phone); err != ui.ErrTooManyTries {
		t.Errorf("the right password after too many wrong ones: %v, want %v", err, ui.ErrTooManyTries)
	}
}

func TestTriesAreBounded(t *testing.T) {
	tries := newTries()
	for i := range 3 * maxTryKeys {
		tries.take("", netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if n := len(tries.windows); n > maxTryKeys {
		t.Errorf("%d windows are kept, want at most %d", n, maxTryKeys)
	}
}

func TestTooManyWait(t *testing.T) {
	d := newHouse().open(t, "")
	for range maxWaiting {
		d.slow.waiting <- struct{}{}
	}
	if _, err := d.SignIn(t.Context(), "Jo", goodPassword, phone); err != ui.ErrTooManyTries {
		t.Errorf("with %d waiting for the worker: %v, want %v", maxWaiting, err, ui.ErrTooManyTries)
	}
}

// TestHashGivesMemoryBack has the collector sleep, as it does in a home where
// little happens: what a hash took is given back to the system all the same.
func TestHashGivesMemoryBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	h := newHouse().open(t, "").slow
	debug.FreeOSMemory()
	resident := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapSys - m.HeapReleased
	}
	before := resident()
	if _, err := h.hash(t.Context(), goodPassword); err != nil {
		t.Fatal(err)
	}
	const took = hashMemory << 10
	if now := resident(); now < before+took/2 {
		t.Fatalf("%d bytes are resident after a hash, %d before: it takes %d", now, before, took)
	}
	for end := time.Now().Add(20 * tidyAfter); ; time.Sleep(tidyAfter / 10) {
		now := resident()
		if now < before+took/2 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes are resident after a hash, %d before", now, before)
		}
	}
}

func TestSignInEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		d := h.open(t, "")
		token := firstRun(t, d)
		time.Sleep(SignInLasts - time.Minute)
		if _, ok := d.Who(token); !ok {
			t.Error("a sign-in ends too early")
		}
		time.Sleep(2 * time.Minute)
		if _, ok := d.Who(token); ok {
			t.Error("a sign-in lasts too long")
		}
		if _, err := d.SignIn(t.Context(), "Jo", goodPassword, phone); err != nil {
			t.Fatal(err)
		}
		if n := len(d.state.Load().signIns); n != 1 {
			t.Errorf("%d sign-ins are kept, want 1: the one that is over goes", n)
		}
		if n := len(h.restart().open(t, "").state.Load().signIns); n != 1 {
			t.Errorf("%d sign-ins are on disk, want 1", n)
		}
	})
}

func TestSignInsAreBounded(t *testing.T) {
	s := &state{signIns: map[tokenHash]*signIn{}}
	p := &person{ID: "jo"}
	first := tokenHash{0xff}
	s.addSignIn(p, first)
	s.signIns[first].Created = now().Add(-time.Minute)
	for i := range maxSignIns {
		s.addSignIn(p, tokenHash{byte(i), 1})
	}
	if len(s.signIns) != maxSignIns || s.signIns[first] != nil {
		t.Errorf("%d sign-ins are kept, the oldest: %v; want %d and no", len(s.signIns), s.signIns[first] != nil, maxSignIns)
	}
}

func TestAuthenticate(t *testing.T) {
	const (
		loopback = "127.0.0.1"
		lan      = "192.168.1.20"
		mapped   = "::ffff:192.168.1.20"
		ula      = "fd12::1"
		link     = "fe80::1%eth0"
		shared   = "100.64.0.1"
		public   = "203.0.113.5"
	)
	type login struct {
		has      bool
		username string
		password string
	}
	none, stranger := login{}, login{true, "tasmota", "whatever"}
	tests := []struct {
		owner, allow bool
		from         string
		login        login
		identity     string
		reason       packet.Reason
	}{
		{false, false, loopback, none, "", packet.Success},
		{false, false, lan, none, "", packet.Success},
		{false, false, lan, stranger, "", packet.Success},
		{false, false, mapped, none, "", packet.Success},
		{false, false, ula, none, "", packet.Success},
		{false, false, link, none, "", packet.Success},
		{false, false, shared, none, "", packet.NotAuthorized},
		{false, false, public, none, "", packet.NotAuthorized},
		{false, false, public, stranger, "", packet.BadUserNameOrPassword},
		{false, false, lan, login{true, "lamp", "wrong"}, "", packet.BadUserNameOrPassword},
		{false, false, public, login{true, "lamp", "right"}, "credential:lamp", packet.Success},

		{true, false, lan, none, "", packet.NotAuthorized},
		{true, false, loopback, none, "", packet.NotAuthorized},
		{true, false, lan, stranger, "", packet.BadUserNameOrPassword},
		{true, false, lan, login{true, "lamp", "wrong"}, "", packet.BadUserNameOrPassword},
		{true, false, lan, login{true, "lamp", ""}, "", packet.BadUserNameOrPassword},
		{true, false, lan, login{true, "LAMP", "right"}, "", packet.BadUserNameOrPassword},
		{true, false, lan, login{false, "lamp", "right"}, "", packet.NotAuthorized},
		{true, false, lan, login{true, "lamp", "right"}, "credential:lamp", packet.Success},

		{true, true, lan, none, "", packet.Success},
		{true, true, lan, login{true, "lamp", "wrong"}, "", packet.BadUserNameOrPassword},
		{true, true, lan, login{true, "lamp", "right"}, "credential:lamp", packet.Success},
		{true, true, public, none, "", packet.NotAuthorized},
	}
	houses := map[[2]bool]*Directory{}
	passwords := map[*Directory]string{}
	for _, owner := range []bool{false, true} {
		for _, allow := range []bool{false, true} {
			d := newHouse().open(t, "", func(c *Config) { c.AllowAnonymous = allow })
			if owner {
				firstRun(t, d)
			}
			houses[[2]bool{owner, allow}] = d
			passwords[d] = addCredential(t, d, "lamp")
		}
	}
	for _, tt := range tests {
		d := houses[[2]bool{tt.owner, tt.allow}]
		password := tt.login.password
		if password == "right" {
			password = passwords[d]
		}
		identity, reason := d.Authenticate(tt.login.has, tt.login.username, []byte(password), netip.MustParseAddr(tt.from))
		if identity != tt.identity || reason != tt.reason {
			t.Errorf("owner %v, allow %v: Authenticate(%+v, %s) = %q, %#x, want %q, %#x",
				tt.owner, tt.allow, tt.login, tt.from, identity, reason, tt.identity, tt.reason)
		}
	}
	if _, reason := houses[[2]bool{}].Authenticate(false, "", nil, netip.Addr{}); reason == packet.Success {
		t.Error("a connection from no address at all is let in")
	}
}

// TestComplete takes up a credential of a release that kept less of a password:
// what SCRAM-SHA-256 needs is made when its client next says the password.
func TestComplete(t *testing.T) {
	h := newHouse()
	d := h.open(t, "")
	password := addCredential(t, d, "lamp")
	old := *d.state.Load().credentials["lamp"]
	old.Scram = nil
	h.do(t.Context(), func(turn *mqtt.Turn) error {
		w := old.write()
		turn.Write(w.Key, w.Value)
		return nil
	})
	h = h.restart()
	synctest.Test(t, func(t *testing.T) {
		d := h.open(t, "")
		if _, exists := d.Verifier("lamp"); exists {
			t.Fatal("it is there before")
		}
		d.Authenticate(true, "lamp", []byte("wrong"), phone)
		synctest.Wait()
		if _, exists := d.Verifier("lamp"); exists {
			t.Fatal("it was made of a wrong password")
		}
		for range 3 {
			if _, reason := d.Authenticate(true, "lamp", []byte(password), phone); reason != packet.Success {
				t.Fatalf("answered %v", reason)
			}
		}
		synctest.Wait()
		v, exists := d.Verifier("lamp")
		if !exists || !v.Matches([]byte(password)) {
			t.Error("it was not made")
		}
		if list := d.Credentials(); list[0].LastSeen.IsZero() {
			t.Error("when the lamp was seen is forgotten")
		}
	})
	d = h.restart().open(t, "")
	if v, exists := d.Verifier("lamp"); !exists || !v.Matches([]byte(password)) {
		t.Error("it is not on disk")
	}
	if bytes.Equal(d.Secret(), newHouse().open(t, "").Secret()) {
		t.Error("two houses share their secret")
	}
}

func TestOpen(t *testing.T) {
	d := newHouse().open(t, "")
	if open, why := d.Open(); !open || why == "" {
		t.Errorf("without an owner Open = %v, %q", open, why)
	}
	firstRun(t, d)
	if open, why := d.Open(); open || why != "" {
		t.Errorf("with an owner Open = %v, %q", open, why)
	}
	d = newHouse().open(t, "", func(c *Config) { c.AllowAnonymous = true })
	firstRun(t, d)
	if open, why := d.Open(); !open || !strings.Contains(why, "--allow-anonymous") {
		t.Errorf("with --allow-anonymous Open = %v, %q", open, why)
	}
}

func TestCredentials(t *testing.T) {
	h := newHouse()
	var revoked []string
	d := h.open(t, "", func(c *Config) { c.Revoked = func(identity string) { revoked = append(revoked, identity) } })
	firstRun(t, d)
	lamp, plug := addCredential(t, d, "lamp"), addCredential(t, d, "plug")
	if lamp == plug || len(lamp)*5 < 128 || len(lamp) > 32 {
		t.Errorf("passwords %q and %q: want two of at least 128 bits and at most 32 characters", lamp, plug)
	}
	if _, err := d.AddCredential(t.Context(), "lamp"); err != ui.ErrNameTaken {
		t.Errorf("a second lamp: %v, want %v", err, ui.ErrNameTaken)
	}
	if _, err := d.AddCredential(t.Context(), "a/b"); err != ui.ErrBadName {
		t.Errorf("a credential a/b: %v, want %v", err, ui.ErrBadName)
	}

	d = h.restart().open(t, "", func(c *Config) { c.Revoked = d.cfg.Revoked })
	if _, reason := d.Authenticate(true, "lamp", []byte(lamp), phone); reason != packet.Success {
		t.Errorf("after a restart the lamp is answered %#x", reason)
	}
	list := d.Credentials()
	if len(list) != 2 || list[0].Name != "lamp" || list[0].LastSeen.IsZero() || !list[1].LastSeen.IsZero() {
		t.Errorf("Credentials = %+v, want lamp, seen, and plug, not seen", list)
	}

	if err := d.RemoveCredential(t.Context(), "lamp"); err != nil {
		t.Fatal(err)
	}
	if _, reason := d.Authenticate(true, "lamp", []byte(lamp), phone); reason != packet.BadUserNameOrPassword {
		t.Errorf("a removed credential is answered %#x", reason)
	}
	if err := d.RemoveCredential(t.Context(), "lamp"); !errors.Is(err, ui.ErrNoCredential) {
		t.Errorf("removed again: %v, want %v", err, ui.ErrNoCredential)
	}
	if want := []string{"credential:lamp"}; !slices.Equal(revoked, want) {
		t.Errorf("revoked %q, want %q", revoked, want)
	}
}

// What is refused must leave nothing behind.
func TestRefusedChange(t *testing.T) {
	h := newHouse()
	d := h.open(t, "")
	h.err = errors.New("disk full")
	if _, err := d.FirstRun(t.Context(), "Home", "Jo", goodPassword); err != h.err {
		t.Errorf("FirstRun = %v, want %v", err, h.err)
	}
	if _, err := d.AddCredential(t.Context(), "lamp"); err != h.err {
		t.Errorf("AddCredential = %v, want %v", err, h.err)
	}
	if d.HasOwner() || len(d.Credentials()) != 0 {
		t.Error("what the store refused is there all the same")
	}
	h.err = nil
	firstRun(t, d)
}

func TestNoSecretIsKept(t *testing.T) {
	h := newHouse()
	file := filepath.Join(t.TempDir(), "identity.json")
	d := h.open(t, file)
	secrets := []string{firstRun(t, d), addCredential(t, d, "lamp"), goodPassword}

	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	h.store.Scan(nil, nil, func(key, value []byte) bool {
		kept = append(append(kept, key...), value...)
		return true
	})
	for _, secret := range secrets {
		if bytes.Contains(kept, []byte(secret)) {
			t.Errorf("the secret %q is kept in the clear", secret)
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the copy has mode %v, want 0600", info.Mode())
	}
}

func TestRecover(t *testing.T) {
	file := filepath.Join(t.TempDir(), "identity.json")
	h := newHouse()
	d := h.open(t, file)
	firstRun(t, d)
	lamp := addCredential(t, d, "lamp")

	check := func(when string, d *Directory) {
		t.Helper()
		if !d.HasOwner() || d.Home() != "Elm Street" {
			t.Errorf("%s: owner %v, home %q", when, d.HasOwner(), d.Home())
		}
		if _, err := d.SignIn(t.Context(), "Jo", goodPassword, phone); err != nil {
			t.Errorf("%s: the owner cannot sign in: %v", when, err)
		}
	}
	empty := newHouse()
	lost := empty.open(t, file)
	check("store lost", lost)
	if lost.Installation() != d.Installation() {
		t.Errorf("store lost: installation %s, was %s", lost.Installation(), d.Installation())
	}
	if _, reason := lost.Authenticate(true, "lamp", []byte(lamp), phone); reason != packet.Success {
		t.Errorf("store lost: the lamp is answered %#x", reason)
	}
	check("the start after it", empty.restart().open(t, ""))

	// One damaged record: the owner's.
	err := h.do(t.Context(), func(turn *mqtt.Turn) error {
		turn.Write(key(personKind, d.state.Load().people["jo"].ID), []byte("{"))
		turn.Write(key(credentialKind, "lamp"), nil) // removed; must not come back
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	damaged := h.restart().open(t, file)
	check("owner damaged", damaged)
	if n := len(damaged.Credentials()); n != 0 {
		t.Errorf("owner damaged: %d credentials came back", n)
	}
}

func TestFileOfOthers(t *testing.T) {
	for _, text := range []string{"", "{", "[]", `{"format":2}`, `{"format":1,"people":[null]}`,
		`{"format":1,"installation":"00112233445566778899aabbccddeeff","people":[null,{}],"credentials":[null]}`} {
		file := filepath.Join(t.TempDir(), "identity.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if d := newHouse().open(t, file); d.HasOwner() || len(d.Installation()) != 4 {
			t.Errorf("%q: owner %v, installation %q", text, d.HasOwner(), d.Installation())
		}
	}
}

// What is written is read back as it was, and whatever else is in the store
// is an error at most.
func FuzzReadRecord(f *testing.F) {
	f.Add([]byte("xh"), []byte(`{"name":"Home","installation":"00112233445566778899aabbccddeeff"}`))
	f.Add([]byte("xp0011"), []byte(`{"name":"Jo","role":"owner"}`))
	f.Add([]byte("xclamp"), []byte(`{"salt":"00","hash":"11","created":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte("xs"), []byte(`{}`))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		first, second := emptyState(), emptyState()
		if err := first.readRecord(key, value); err != nil {
			return
		}
		var writes []mqtt.Write
		for _, p := range first.people {
			writes = append(writes, p.write())
		}
		for _, c := range first.credentials {
			writes = append(writes, c.write())
		}
		for h, in := range first.signIns {
			writes = append(writes, in.write(h))
		}
		if first.installation != "" {
			writes = append(writes, first.homeWrite())
		}
		for _, w := range writes {
			if err := second.readRecord(w.Key, w.Value); err != nil {
				t.Fatalf("read %q %q: %v", w.Key, w.Value, err)
			}
		}
		if first.installation == "" {
			first.home = ""
		}
		if a, b := dump(t, first), dump(t, second); !reflect.DeepEqual(a, b) {
			t.Fatalf("written as %s, read as %s", a, b)
		}
	})
}

func dump(t *testing.T, s *state) string {
	t.Helper()
	b, err := json.Marshal([]any{s.home, s.installation, s.people, s.credentialsByName(), len(s.signIns)})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A stored hash is a text from the disk: whatever it says, verifying takes
// bounded memory and is an error at most.
func TestStoredHashOfOthers(t *testing.T) {
	h := newHouse().open(t, "").slow
	for _, stored := range []string{
		"x", "$argon2id$v=19$m=19456,t=2,p=1$AAAA$", "$argon2id$v=19$m=4294967295,t=2,p=1$AAAA$" + strings.Repeat("A", 43),
		"$argon2id$v=19$m=19456,t=0,p=1$AAAA$" + strings.Repeat("A", 43), "$argon2i$v=19$m=19456,t=2,p=1$AAAA$AAAA",
	} {
		if ok, err := h.verify(t.Context(), stored, "password"); ok || err == nil {
			t.Errorf("verify(%q) = %v, %v, want an error", stored, ok, err)
		}
	}
}

// TestSignInWithoutDisk lets people in while nothing can be kept, and makes up
// for it with the next change that can.
func TestSignInWithoutDisk(t *testing.T) {
	h := newHouse()
	var full error
	ready := func(cfg *Config) {
		cfg.Ready = func() error { return full }
		cfg.Do = func(ctx context.Context, fn func(*mqtt.Turn) error) error {
			if full != nil {
				return full
			}
			return h.do(ctx, fn)
		}
	}
	d := h.open(t, "", ready)
	if _, err := d.FirstRun(t.Context(), "Home", "Jo", goodPassword); err != nil {
		t.Fatal(err)
	}
	full = errors.New("disk is read-only")
	token, err := d.SignIn(t.Context(), "Jo", goodPassword, phone)
	if err != nil {
		t.Fatalf("SignIn while nothing can be kept: %v", err)
	}
	if who, ok := d.Who(token); !ok || who.Name != "Jo" {
		t.Errorf("the token is of %+v, %v", who, ok)
	}
	if _, err := d.AddCredential(t.Context(), "lamp"); err == nil {
		t.Error("a credential was made that is not kept")
	}
	if _, ok := h.open(t, "", ready).Who(token); ok {
		t.Error("the sign-in was written")
	}
	full = nil
	if _, err := d.AddCredential(t.Context(), "lamp"); err != nil {
		t.Fatal(err)
	}
	if _, ok := h.open(t, "", ready).Who(token); !ok {
		t.Error("the sign-in was not written with the next change")
	}
	full = errors.New("disk is read-only")
	if err := d.SignOut(t.Context(), token); err != nil {
		t.Errorf("SignOut while nothing can be kept: %v", err)
	}
	if _, ok := d.Who(token); ok {
		t.Error("the sign-in goes on after the sign-out")
	}
}
