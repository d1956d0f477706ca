package shelly

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"lar.home/devices/template"
)

func TestParseTopic(t *testing.T) {
	for topic, want := range map[string]string{
		"plug/online":                        "1 plug ",
		"home/attic/plug/online":             "1 home/attic/plug ",
		"plug/events/rpc":                    "2 plug ",
		"a/b/events/rpc":                     "2 a/b ",
		"lar/shelly/a/b/rpc":                 "3 a/b ",
		"lar/shelly/rpc":                     "",
		"lar/shelly/plug/online":             "",
		"lar/shelly/x/events/rpc":            "3 x/events ",
		"shellies/announce":                  "4  ",
		"shellies/x/online":                  "1 shellies/x ",
		"shellies/x/relay/0":                 "5 shellies/x relay/0",
		"shellies/x/relay/0/power":           "5 shellies/x relay/0/power",
		"shellies/x/relay/0/command":         "",
		"shellies/x/relay/00":                "",
		"shellies/x/relay/99":                "",
		"shellies/x/emeter/2/total":          "5 shellies/x emeter/2/total",
		"shellies/x/sensor/temperature":      "5 shellies/x sensor/temperature",
		"shellies/x/sensor/act_reasons":      "",
		"shellies/command":                   "",
		"shellies//relay/0":                  "",
		"plug/status/switch:0":               "",
		"plug/rpc":                           "",
		"/online":                            "",
		"online":                             "",
		"$SYS/online":                        "",
		"$share/events/rpc":                  "",
		strings.Repeat("x", 301) + "/online": "",
		strings.Repeat("x", 700) + "/events": "",
		"events/rpc":                         "",
		"":                                   "",
	} {
		got := ""
		if p, ok := ParseTopic(topic); ok {
			got = fmt.Sprint(int(p.Subject), " ", p.Prefix, " ", p.Part)
		}
		if got != want {
			t.Errorf("ParseTopic(%q) = %q, want %q", topic, got, want)
		}
	}
}

func TestMAC(t *testing.T) {
	for s, want := range map[string]string{
		"A8032ABE54DC": "a8:03:2a:be:54:dc", "shellyplus1-a8032abe54dc": "a8:03:2a:be:54:dc", "a8:03:2a:be:54:dc": "a8:03:2a:be:54:dc",
		"shelly1-AABBCC": "", "": "", "zz032abe54dc": "",
	} {
		if got := MAC(s); got != want {
			t.Errorf("MAC(%q) = %q, want %q", s, got, want)
		}
	}
}

// TestFrames holds what is read of a message.
func TestFrames(t *testing.T) {
	f, err := ParseFrame([]byte(`{"id":3,"src":"shellyplus1-a8032abe54dc","error":{"code":-103,"message":"Invalid"}}`))
	if err != nil || f.ID != AskStatus || f.Error != "Invalid (-103)" {
		t.Errorf("%+v %v", f, err)
	}
	if f, err = ParseFrame([]byte(`{"id":"3","src":7,"method":"NotifyStatus","error":"x"}`)); err != nil || f.ID != 0 || f.Error != "" || f.Method != "NotifyStatus" {
		t.Errorf("%+v %v", f, err)
	}
	for _, bad := range []string{"", "[]", "1", "{", `{"x":"` + strings.Repeat("x", MaxPayload) + `"}`} {
		if _, err := ParseFrame([]byte(bad)); err == nil {
			t.Errorf("%.20q was read", bad)
		}
	}
}

// TestParts holds how what a device of the first generation has is learned.
func TestParts(t *testing.T) {
	o := &Old{}
	for _, x := range []struct {
		part, payload string
		isNew         bool
		want          string
	}{
		{"relay/0", "on", true, "[relay/0]"},
		{"relay/0", "off", false, "[relay/0]"},
		{"info", `{"wifi_sta":{}}`, false, "[relay/0]"},
		{"light/0/status", "on", false, "[relay/0]"},
		{"status", `{"x":1}`, false, "[relay/0]"},
		{"light/0/status", `{"brightness":1}`, true, "[light/0/status brightness relay/0]"},
		{"light/0/status", `{"temp":1,"brightness":1}`, true, "[light/0/status brightness temp relay/0]"},
		{"color/0/status", `{"gain":1}`, true, "[color/0/status gain light/0/status brightness temp relay/0]"},
		{"color/0/power", "1", true, "[color/0/power color/0/status gain light/0/status brightness temp relay/0]"},
		{"white/0/status", `{"brightness":1}`, true, "[light/0/status brightness temp relay/0 white/0/status brightness]"},
		{"sensor/unknown", "1", false, "[light/0/status brightness temp relay/0 white/0/status brightness]"},
	} {
		learned := Learn(x.part, []byte(x.payload))
		if got := learned != "" && o.Add(learned); got != x.isNew {
			t.Errorf("%s %s: new is %v", x.part, x.payload, got)
		}
		if got := fmt.Sprint(o.Parts); got != x.want {
			t.Errorf("%s %s: %s, want %s", x.part, x.payload, got, x.want)
		}
	}
	for i := range 3 * MaxParts {
		o.Add(fmt.Sprint("relay/", i))
	}
	if len(o.Parts) > MaxParts {
		t.Errorf("%d parts, want %d at most", len(o.Parts), MaxParts)
	}
}

// FuzzDescribe: whatever a device answers, what it is can be kept and read
// back as the same, and each of its entities has a unique ID of its own and is
// read from the device's own topics.
func FuzzDescribe(f *testing.F) {
	f.Add([]byte(`{"id":"shellyplus1-a8032abe54dc","mac":"A8032ABE54DC"}`), []byte(`{"switch:0":{"name":"x"}}`), []byte(`{"switch:0":{"output":true,"aenergy":{"total":1}},"em:0":{"a_voltage":1},"input:0":{"state":true}}`), []byte(`[{"key":"enum:200","config":{"options":["a"]}}]`))
	f.Add([]byte(`{"id":"x","mac":"A8032ABE54DC","name":7}`), []byte(`7`), []byte(`{"switch:0":{},"switch:00":{},"switch:-1":{},"a b":{},"light":{"brightness":1},"bthomesensor:1":{}}`), []byte(`[{"key":"switch:0"},{"key":"text:1","config":{"min":1e400}}]`))
	f.Fuzz(func(t *testing.T, info, config, status, components []byte) {
		decode := func(b []byte) template.Value {
			v, _ := template.Decode(string(b))
			return v
		}
		d, err := Build("a/b", decode(info), decode(config), decode(status), decode(components).Items())
		if err != nil {
			return
		}
		kept, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		back := &Device{}
		if err := json.Unmarshal(kept, back); err != nil || back.Hash() != d.Hash() {
			t.Errorf("%s is read back as something else: %v", kept, err)
		}
		ids := map[string]bool{}
		for _, e := range Describe(d) {
			if ids[e.Topic.Key()] {
				t.Errorf("%s is there twice", e.Topic.Key())
			}
			ids[e.Topic.Key()] = true
			for _, s := range e.Status {
				if !strings.HasPrefix(s.Topic, "a/b/") && s.Topic != "lar/shelly/a/b/rpc" {
					t.Errorf("%s reads %q", e.Topic.Key(), s.Topic)
				}
			}
		}
	})
}

// FuzzOld: whatever topics a device of the first generation speaks on, each
// entity has a unique ID of its own and a topic of the device's.
func FuzzOld(f *testing.F) {
	f.Add("relay/0", "relay/1", "light/0/status", []byte(`{"brightness":1}`))
	f.Add("white/3/status", "roller/0", "roller/0/pos", []byte("1"))
	f.Fuzz(func(t *testing.T, a, b, c string, payload []byte) {
		o := &Old{Prefix: "shellies/x", ID: "x", MAC: "aa:bb:cc:dd:ee:ff"}
		for _, part := range []string{a, b, c} {
			if learned := Learn(part, payload); learned != "" {
				if !KnownPart(part) {
					t.Errorf("%q was learned and is not known", part)
				}
				o.Add(learned)
				if o.Add(learned) {
					t.Errorf("%q is new twice", learned)
				}
			}
		}
		ids := map[string]bool{}
		for _, e := range DescribeOld(o) {
			if ids[e.Topic.Key()] || !strings.HasPrefix(e.Topic1, "shellies/x/") {
				t.Errorf("%s reads %q", e.Topic.Key(), e.Topic1)
			}
			ids[e.Topic.Key()] = true
		}
	})
}
