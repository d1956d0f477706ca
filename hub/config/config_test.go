package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"lar.home/hub/listen"
	"lar.home/mqtt"
)

var update = flag.Bool("update", false, "rewrite packaging/lar.toml")

// TestExample holds that the file we ship is the one that lar config prints,
// that it says every key with a comment, and that it changes nothing.
func TestExample(t *testing.T) {
	var want bytes.Buffer
	Example(&want)
	const shipped = "../../packaging/lar.toml"
	if *update {
		if err := os.WriteFile(shipped, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("packaging/lar.toml is not what lar config prints: go test ./hub/config -update")
	}
	e := load(t, want.String())
	if len(e.From) != len(settings) {
		t.Errorf("%d keys are in it, want %d", len(e.From), len(settings))
	}
	if e.Data = "lar-data"; !reflect.DeepEqual(e.Config, *Defaults()) {
		t.Errorf("its values are not the defaults: %+v", e.Config)
	}
	// With the listener in force, every key of one is there, too.
	text := regexp.MustCompile(`(?m)^#(\[\[listener\]\]|[a-z_]+ = )`).ReplaceAllString(want.String(), "$1")
	text = strings.Replace(text, `address = ""`, `address = ":1"`, 1)
	e = load(t, text)
	if n := len(listenerSettings(0)); len(e.From) != len(settings)+n {
		t.Errorf("%d keys with a listener, want %d", len(e.From), len(settings)+n)
	}
	for _, s := range e.all() {
		if !regexp.MustCompile(`^[A-Za-z"].*[.]$`).MatchString(strings.ReplaceAll(s.comment, "\n", " ")) {
			t.Errorf("%s: the comment is no sentence: %q", s.key, s.comment)
		}
	}
}

// TestLimits holds that each limit of the broker has a key and is described.
func TestLimits(t *testing.T) {
	limits := reflect.TypeFor[mqtt.Limits]()
	if got := len(limitSettings()); got != limits.NumField() {
		t.Errorf("%d limits have a key, want %d", got, limits.NumField())
	}
	for i := range limits.NumField() {
		if name := limits.Field(i).Name; aboutLimits[name] == "" {
			t.Errorf("aboutLimits does not say what %s bounds", name)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "lar.toml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func load(t *testing.T, text string, environ ...string) *Effective {
	t.Helper()
	e, err := Load(write(t, text), environ, nil)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return e
}

// TestPrecedence: flag, environment variable, file, default.
func TestPrecedence(t *testing.T) {
	file := write(t, "mqtt = \":1\"\nhttp = \":1\"\nlog_level = \"warn\"\n[limits]\npacket_size = \"1 MiB\"")
	e, err := Load(file, []string{"LAR_HTTP=:2", "LAR_LOG_LEVEL=debug", "LAR_LIMITS_WINDOW=7", "HOME=/"}, map[string]string{"log_level": "error"})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(e.MQTT, e.HTTP, e.LogLevel, e.MDNS, e.Limits.PacketSize, e.Limits.Window, e.Limits.QueueMessages)
	if want := fmt.Sprint(":1", ":2", "error", true, 1<<20, 7, 1000); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for key, want := range map[string]string{"mqtt": "lar.toml:1", "http": "LAR_HTTP", "log_level": "--log-level", "mdns": ""} {
		if e.From[key] != want {
			t.Errorf("%s is from %q, want %q", key, e.From[key], want)
		}
	}
}

// TestEveryKeyAsVariable sets each setting by its variable to what it is not.
func TestEveryKeyAsVariable(t *testing.T) {
	other := func(s setting) string {
		switch v := s.get(&Config{Listeners: []listen.Config{newListener()}}).(type) {
		case bool:
			return fmt.Sprint(!s.get(Defaults()).(bool))
		case int:
			if _, err := s.kind.text("77"); err != nil {
				return "1"
			}
			return "77"
		case time.Duration:
			return "77s"
		case string:
			for _, w := range []string{"filter", "debug", "never"} {
				if _, err := s.kind.text(w); err == nil {
					return w
				}
			}
			if s.key == "home.latitude" || s.key == "home.longitude" {
				return "7.5"
			}
			return ":77"
		default:
			return fmt.Sprint(v, "x")[:0] + "7.7.7.7"
		}
	}
	for _, s := range settings {
		e := load(t, "", env(s.key)+"="+other(s))
		if s.text(&e.Config) == s.text(Defaults()) || e.From[s.key] != env(s.key) {
			t.Errorf("%s=%s changes nothing: %s", env(s.key), other(s), s.text(&e.Config))
		}
	}
	e := load(t, "", "LAR_LISTENER_1_TYPE=unix", "LAR_LISTENER_1_ADDRESS=/run/x", "LAR_LISTENER_2_ADDRESS=:7",
		"LAR_LISTENER_2_PROXY_PROTOCOL=true", "LAR_LISTENER_2_PROXY_FROM=127.0.0.1, 10.0.0.0/8")
	if len(e.Listeners) != 2 || e.Listeners[0].Type != listen.Unix || e.Listeners[1].Address != ":7" || len(e.Listeners[1].ProxyFrom) != 2 {
		t.Errorf("listeners by variables: %+v", e.Listeners)
	}
	if e = load(t, "", "LAR_HTPP=:1"); len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "LAR_HTTP?") {
		t.Errorf("a variable that is none: %q", e.Warnings)
	}
}

func TestWhatIsWrong(t *testing.T) {
	tests := []struct {
		text string
		says []string
	}{
		{"\nmqqt = \":1\"", []string{"lar.toml:2:", "no key mqqt", "did you mean mqtt?"}},
		{"[limits]\n\npacket_sise = 5", []string{"lar.toml:3:", "packet_sise in [limits]", "mean packet_size in [limits]?"}},
		{"packet_size = 5", []string{"lar.toml:1:", "packet_size in [limits]?"}},
		{"[limit]\npacket_size = 5", []string{"lar.toml:2:", "[limits]?"}},
		{"[[listener]]\naddress = \":1\"\n[[listener]]\nadress = \":2\"", []string{"lar.toml:4:", "adress of [[listener]] 2", "address of"}},
		{"mdns = \"yes\"", []string{"lar.toml:1:", "mdns wants true or false"}},
		{"[home]\nlatitude = 200", []string{"lar.toml:2:", "latitude in [home] wants degrees"}},
		{"mqtt = 1883", []string{"lar.toml:1:", "text in quotes"}},
		{"[limits]\npacket_size = \"8 MB\"", []string{"lar.toml:2:", "MiB"}},
		{"[limits]\nkeep_alive = 60", []string{"lar.toml:2:", "10s"}},
		{"[limits]\nwindow = -1", []string{"lar.toml:2:", "0 or more"}},
		{"log_level = \"loud\"", []string{"lar.toml:1:", "debug"}},
		{"mqtt = \":1\"\nmqtt = \":2\"", []string{"lar.toml:2:"}},
		{"a = = 1", []string{"lar.toml:1:"}},
		{"\n\nmqtt = \":1", []string{"lar.toml:3:"}},
		{"[[listener]]\ntype = \"tls\"\naddress = \":1\"", []string{"lar.toml:1:", "certificate"}},
		{"[[listener]]\naddress = \":1\"\nproxy_protocol = true", []string{"proxy_from", "addresses of the proxies"}},
		{"[[listener]]\ntype = \"tcp\"", []string{"address"}},
		{"mqtt = \"off\"\nhttp = \"off\"", []string{"lar.toml:1:", "listener"}},
		{"data = \"\"", []string{"data folder"}},
		{"[rights]\nacl = \"allow\"", []string{"lar.toml:2:", "list"}},
		{"mqqt = 1\nhttpp = 2", []string{"lar.toml:1:", "lar.toml:2:"}}, // all at once
	}
	for _, tt := range tests {
		_, err := Load(write(t, tt.text), nil, nil)
		if err == nil {
			t.Errorf("%q is taken", tt.text)
			continue
		}
		for _, want := range tt.says {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: the error does not say %q:\n%v", tt.text, want, err)
			}
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "missing"), nil, nil); err == nil {
		t.Error("a missing file is taken")
	}
}

// TestPrint holds that what is printed can be read again and says the same.
func TestPrint(t *testing.T) {
	e := load(t, `mqtt = ":7"
[rights]
acl = ["allow * both \"x\"/#"]
[limits]
session_expiry = "3h"
[[listener]]
type = "unix"
address = "/run/lar.sock"
`, "LAR_LIMITS_WINDOW=9")
	var out bytes.Buffer
	e.Print(&out)
	again := load(t, out.String())
	again.Data = e.Data // which the file names from its own folder
	if !reflect.DeepEqual(e.Config, again.Config) {
		t.Errorf("printed and read again:\n%+v\n%+v\n%s", e.Config, again.Config, &out)
	}
	for _, want := range []string{"# lar.toml:1\n", "# LAR_LIMITS_WINDOW\n", "# default\n", "queue_bytes = \"8 MiB\""} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("what is printed has no %q:\n%s", want, &out)
		}
	}
}

func TestNeedsRestart(t *testing.T) {
	a := load(t, "http = \":1\"\nlog_level = \"warn\"")
	b := load(t, "http = \":2\"\nlog_level = \"info\"\n[limits]\nwindow = 5")
	b.Data = a.Data
	if got := a.NeedsRestart(b); !slices.Equal(got, []string{"http"}) {
		t.Errorf("%v need a new start, want http", got)
	}
}

// FuzzLoad holds that a file is taken or refused with a line, whatever it is.
func FuzzLoad(f *testing.F) {
	f.Add("[limits]\npacket_size = 1\n[[listener]]\naddress=':1'")
	f.Add("listener = [1, {a = 1}]\nrights.acl = [[1]]")
	f.Fuzz(func(t *testing.T, text string) {
		l := loader{Effective: &Effective{Config: *Defaults(), File: "lar.toml", From: map[string]string{}}}
		l.file([]byte(text))
		for _, err := range l.wrong {
			if !regexp.MustCompile(`^lar.toml:\d+: `).MatchString(err.Error()) {
				t.Errorf("an error without a line: %v", err)
			}
		}
	})
}

// TestSysIntervalOff sets to 0 what 0 has a meaning for.
func TestSysIntervalOff(t *testing.T) {
	for _, tt := range []struct {
		text    string
		want    time.Duration
		printed string
	}{{"0s", -1, `sys_interval = "0s"`}, {"1m", time.Minute, `sys_interval = "1m"`}, {"", 10 * time.Second, `sys_interval = "10s"`}} {
		var environ []string
		if tt.text != "" {
			environ = []string{"LAR_LIMITS_SYS_INTERVAL=" + tt.text}
		}
		e, err := Load("", environ, nil)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		e.Print(&b)
		if e.Limits.SysInterval != tt.want || !strings.Contains(b.String(), tt.printed) {
			t.Errorf("%q: %v", tt.text, e.Limits.SysInterval)
		}
	}
}
