package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"lar.home/ui"
)

// An admin writes down what it is asked.
type admin struct {
	asked []string
	err   error
}

var created = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (a *admin) Credentials() []ui.Credential {
	return []ui.Credential{{Name: "lamp", Created: created}}
}

func (a *admin) AddCredential(_ context.Context, name string) (string, error) {
	a.asked = append(a.asked, "add "+name)
	return "secret of " + name, a.err
}

func (a *admin) RemoveCredential(_ context.Context, name string) error {
	a.asked = append(a.asked, "remove "+name)
	return a.err
}

func (a *admin) AddPerson(_ context.Context, home, name, password string, role ui.Role) error {
	a.asked = append(a.asked, strings.Join([]string{"person", home, name, password, string(role)}, " "))
	return a.err
}

func serve(t *testing.T, dir string, a Admin) *Client {
	t.Helper()
	s, err := Serve(dir, a, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCommands(t *testing.T) {
	dirs := []string{t.TempDir(), filepath.Join(t.TempDir(), strings.Repeat("long", 50))}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		a := &admin{}
		c := serve(t, dir, a)
		password, err := c.AddCredential(t.Context(), "hall lamp/é")
		if err != nil || password != "secret of hall lamp/é" {
			t.Errorf("AddCredential = %q, %v", password, err)
		}
		list, err := c.Credentials(t.Context())
		if err != nil || !reflect.DeepEqual(list, a.Credentials()) {
			t.Errorf("Credentials = %+v, %v, want %+v", list, err, a.Credentials())
		}
		if err := c.RemoveCredential(t.Context(), "hall lamp/é"); err != nil {
			t.Error(err)
		}
		if err := c.AddPerson(t.Context(), "Home", "Jo", "correct horse", ui.Owner); err != nil {
			t.Error(err)
		}
		a.err = ui.ErrNameTaken
		if _, err := c.AddCredential(t.Context(), "lamp"); err == nil || err.Error() != ui.ErrNameTaken.Error() {
			t.Errorf("a refusal arrives as %v, want %v", err, ui.ErrNameTaken)
		}
		want := []string{"add hall lamp/é", "remove hall lamp/é", "person Home Jo correct horse owner", "add lamp"}
		if !reflect.DeepEqual(a.asked, want) {
			t.Errorf("asked %q, want %q", a.asked, want)
		}
		info, err := os.Stat(filepath.Join(dir, "control.sock"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the socket has mode %v, %v, want 0600", info.Mode(), err)
		}
	}
}

func TestNotRunning(t *testing.T) {
	dir := t.TempDir()
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a socket: %v, want %v", err, ErrNotRunning)
	}
	// A hub that was killed leaves its socket behind.
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "control.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("with a socket left behind: %v, want %v", err, ErrNotRunning)
	}
	c := serve(t, dir, &admin{})
	if _, err := c.Credentials(t.Context()); err != nil {
		t.Errorf("the next hub cannot be asked: %v", err)
	}
}

func TestStoppedServer(t *testing.T) {
	dir := t.TempDir()
	s, err := Serve(dir, &admin{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after Close: %v, want %v", err, ErrNotRunning)
	}
}

func TestNonsense(t *testing.T) {
	c := serve(t, t.TempDir(), &admin{})
	for _, body := range []string{"", "{", `{"name":1}`, `{"name":"` + strings.Repeat("x", maxBody) + `"}`} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://lar/credentials", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(text), "error") {
			t.Errorf("%.20q is answered %s %s", body, resp.Status, text)
		}
	}
}
