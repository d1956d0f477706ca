package settings

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"lar.home/mqtt"
	"lar.home/ui"
)

// A disk is a store for tests.
type disk map[string][]byte

func (d disk) scan(prefix, _ []byte, fn func(key, value []byte) bool) error {
	for _, k := range slices.Sorted(maps.Keys(d)) {
		if strings.HasPrefix(k, string(prefix)) && !fn([]byte(k), d[k]) {
			break
		}
	}
	return nil
}

func (d disk) do(_ context.Context, fn func(t *mqtt.Turn) error) error {
	t := &mqtt.Turn{Number: 1}
	if err := fn(t); err != nil {
		return err
	}
	for _, w := range t.Writes() {
		if w.Value == nil {
			delete(d, string(w.Key))
		} else {
			d[string(w.Key)] = w.Value
		}
	}
	return nil
}

func load(t *testing.T, d disk) *Settings {
	t.Helper()
	s, err := Load(Config{Scan: d.scan, Do: d.do})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestChannelsAreKept(t *testing.T) {
	d := disk{}
	s := load(t, d)
	good := []ui.Channel{
		{Name: "family", Kind: ui.Email, Server: "smtp.test:587", Security: ui.StartTLS, User: "jo", Password: "secret", From: "jo@test.home", To: "Jo <jo@test.home>, kim@test.home"},
		{Name: "phone", Kind: ui.Ntfy, URL: "https://ntfy.test/topic", Token: "tk"},
		{Name: "program", Kind: ui.Webhook, URL: "http://192.168.1.5:1880/in?x=1"},
	}
	for _, c := range good {
		if err := s.SetChannel(t.Context(), c); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	if got := load(t, d).Channels(); !slices.Equal(got, good) {
		t.Errorf("after a restart there are %+v", got)
	}
	for field, c := range map[string]ui.Channel{
		"name":     {Name: "Our family", Kind: ui.Ntfy, URL: "https://ntfy.test/topic"},
		"kind":     {Name: "a", Kind: "fax"},
		"url":      {Name: "a", Kind: ui.Ntfy, URL: "https://ntfy.test/"},
		"server":   {Name: "a", Kind: ui.Email, Server: "smtp.test", Security: ui.TLS, From: "a@b.c", To: "a@b.c"},
		"security": {Name: "a", Kind: ui.Email, Server: "smtp.test:25", Security: ui.NoTLS, Password: "x", From: "a@b.c", To: "a@b.c"},
		"from":     {Name: "a", Kind: ui.Email, Server: "smtp.test:25", Security: ui.NoTLS, From: "a", To: "a@b.c"},
		"to":       {Name: "a", Kind: ui.Email, Server: "smtp.test:25", Security: ui.NoTLS, From: "a@b.c", To: "a@b.c\r\nBcc: x@y.z"},
	} {
		wrong, ok := errors.AsType[*ui.SettingError](s.SetChannel(t.Context(), c))
		if !ok || wrong.Field != field && wrong.Field != "" {
			t.Errorf("%+v: %v, want an error at %s", c, wrong, field)
		}
	}
	for _, url := range []string{"ftp://a/b", "https://", "//a/b", "https://u:p@a/b", "javascript:alert(1)", "https://a/b#c"} {
		if err := s.SetChannel(t.Context(), ui.Channel{Name: "a", Kind: ui.Webhook, URL: url}); err == nil {
			t.Errorf("%s is taken", url)
		}
	}
	if err := s.RemoveChannel(t.Context(), "phone"); err != nil {
		t.Fatal(err)
	}
	if _, ok := load(t, d).Channel("phone"); ok {
		t.Error("a channel that was removed is back after a restart")
	}
}

func TestHookKeys(t *testing.T) {
	d := disk{}
	s := load(t, d)
	if key := s.HookKey("bell"); key != "" {
		t.Errorf("a key %q before its secret is on disk", key)
	}
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	key := s.HookKey("bell")
	if len(key) != 22 || key == s.HookKey("bel") || key != load(t, d).HookKey("bell") || key == load(t, disk{}).HookKey("bell") {
		t.Errorf("the key of a webhook is %q", key)
	}
}

// TestDamagedSettings holds that what cannot be read is left out.
func TestDamagedSettings(t *testing.T) {
	d := disk{"xl": []byte("{"), "xnphone": []byte(`{"kind":"fax"}`), "xnok": []byte(`{"kind":"ntfy","url":"https://a/b"}`), "xk": []byte("short")}
	s := load(t, d)
	if list := s.Channels(); len(list) != 1 || list[0].Name != "ok" || s.Place().Known {
		t.Errorf("read: %+v, %+v", list, s.Place())
	}
}
