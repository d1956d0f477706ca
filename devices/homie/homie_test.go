package homie

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseTopic(t *testing.T) {
	for topic, want := range map[string]string{
		"homie/lamp/$state":                             "homie/lamp $state",
		"homie/lamp/$fw/version":                        "homie/lamp $fw/version",
		"homie/lamp/$stats/battery":                     "homie/lamp $stats/battery",
		"homie/lamp/light/$properties":                  "homie/lamp light/$properties",
		"homie/lamp/light/power/$unit":                  "homie/lamp light/power/$unit",
		"homie/5/lamp/$state":                           "homie/5/lamp $state 5",
		"other/5/lamp/$description":                     "other/5/lamp $description 5",
		"homie/5/lamp/light/power/$target":              "",
		"homie/5/lamp/$alert/x":                         "",
		"homie/lamp/$description":                       "",
		"homie/lamp/light/$state":                       "",
		"homie/lamp/light/power":                        "",
		"homie/lamp/light/power/more/$unit":             "",
		"homie/$broadcast/alert":                        "",
		"homie/$state":                                  "",
		"homie//$state":                                 "",
		"$SYS/lamp/$state":                              "",
		"/$state":                                       "",
		"homie/lamp/$state/more":                        "",
		"homie/lamp/$stats/interval":                    "",
		"homie/" + strings.Repeat("x", 200) + "/$state": "",
	} {
		got := ""
		if p, ok := ParseTopic(topic); ok {
			got = p.Base + " " + p.Attribute
			if p.Five {
				got += " 5"
			}
		}
		if got != want {
			t.Errorf("ParseTopic(%q) = %q, want %q", topic, got, want)
		}
	}
}

// TestFormats holds how the format of a property is read.
func TestFormats(t *testing.T) {
	number := func(f *float64) string {
		if f == nil {
			return "-"
		}
		return fmt.Sprint(*f)
	}
	tests := []struct {
		datatype, format string
		five             bool
		want             string
	}{
		{"integer", "0:100:10", true, "0 100 10 [] []"},
		{"float", ":2.5", true, "- 2.5 - [] []"},
		{"float", "-20:", true, "-20 - - [] []"},
		{"float", "5:5", true, "- - - [] []"},
		{"float", "NaN:Inf:-1", true, "- - - [] []"},
		{"float", "x", true, "- - - [] []"},
		{"enum", "a,b,,c", false, "- - - [a b,c] []"},
		{"enum", "a,b,,c", true, "- - - [a b c] []"},
		{"boolean", "off,on", true, "- - - [off on] []"},
		{"color", "xyz,rgb,cmyk", true, "- - - [] [xyz rgb]"},
		{"color", "xyz", false, "- - - [] [rgb]"},
		{"", "x", false, "- - - [] []"},
	}
	for _, tt := range tests {
		p := property("p", "", tt.datatype, tt.format, "", false, true, tt.five)
		got := strings.Join([]string{number(p.Min), number(p.Max), number(p.Step), fmt.Sprint(p.Options), fmt.Sprint(p.Colors)}, " ")
		if got != tt.want {
			t.Errorf("%s %q (5: %v): %s, want %s", tt.datatype, tt.format, tt.five, got, tt.want)
		}
	}
}

// TestKinds holds what becomes of the properties of a node.
func TestKinds(t *testing.T) {
	tests := []struct{ node, want string }{
		{`{"properties":{"power":{"datatype":"boolean","settable":true},"speed":{"datatype":"integer","format":"0:3","settable":true}}}`, "fan"},
		{`{"properties":{"power":{"datatype":"boolean","settable":true},"speed":{"datatype":"integer","format":"0:3","settable":true},"x":{"datatype":"float"}}}`, "switch number sensor"},
		{`{"type":"ceiling fan","properties":{"power":{"datatype":"boolean","settable":true},"speed":{"datatype":"integer","format":"0:3","settable":true},"x":{"datatype":"float"}}}`, "fan sensor"},
		{`{"properties":{"power":{"datatype":"boolean","settable":true},"brightness":{"datatype":"integer","unit":"%","settable":true}}}`, "light"},
		{`{"properties":{"on":{"datatype":"boolean","settable":true},"level":{"datatype":"integer","format":"0:100","settable":true}}}`, "switch number"},
		{`{"type":"dimmer","properties":{"level":{"datatype":"integer","format":"0:100","settable":true}}}`, "light"},
		{`{"properties":{"brightness":{"datatype":"integer","format":"0:100","settable":true}}}`, "number"},
		{`{"properties":{"color":{"datatype":"color","format":"rgb","settable":true}}}`, "text"},
		{`{"properties":{"color":{"datatype":"color","format":"rgb","settable":true},"on":{"datatype":"boolean","settable":true}}}`, "light"},
		{`{"type":"light","properties":{"on":{"datatype":"boolean","settable":true}}}`, "light"},
		{`{"properties":{"on":{"datatype":"boolean","settable":true}}}`, "switch"},
		{`{"properties":{"act":{"datatype":"enum","format":"open,close,stop","settable":true}}}`, "cover"},
		{`{"properties":{"act":{"datatype":"enum","format":"open,close,vent","settable":true}}}`, "select"},
	}
	for _, tt := range tests {
		d, err := Parse("homie/5/x", []byte(`{"homie":"5.0","nodes":{"n":`+tt.node+`}}`))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range Describe(d) {
			got = append(got, e.Topic.Component)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.node, s, tt.want)
		}
	}
}

// FuzzDescribe: whatever a description says, each property is in one entity
// that reads it below the device's own base, and unique IDs are of one each.
func FuzzDescribe(f *testing.F) {
	f.Add([]byte(`{"homie":"5.0","nodes":{"a":{"type":"light","properties":{"power":{"datatype":"boolean","settable":true},"dim":{"datatype":"integer","format":"0:9","settable":true},"c":{"datatype":"color","settable":true},"e":{"datatype":"enum","format":"x,y","retained":false,"settable":true}}}}}`))
	f.Add([]byte(`{"homie":"5","name":7,"nodes":{"a/b":{},"$x":{},"é":{"properties":{"é":{"datatype":"json"},"":{}}}}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		const base = "homie/5/x"
		d, err := Parse(base, payload)
		if err != nil {
			return
		}
		if again, err := Parse(base, payload); err != nil || again.Hash() != d.Hash() {
			t.Error("the same says something else")
		}
		read, ids := map[string]int{}, map[string]bool{}
		for _, e := range Describe(d) {
			if ids[e.Topic.Key()] {
				t.Errorf("%s is there twice", e.Topic.Key())
			}
			ids[e.Topic.Key()] = true
			for _, p := range e.Parts {
				if p.Topic != "" {
					read[p.Topic]++
				}
				for _, topic := range []string{p.Topic, p.Set, p.Target} {
					if topic != "" && (!strings.HasPrefix(topic, base+"/") || strings.ContainsAny(topic, "+#")) {
						t.Errorf("topic %q", topic)
					}
				}
			}
		}
		for _, n := range d.Nodes {
			for _, p := range n.Properties {
				button := !p.Retained && p.Settable && (p.Datatype == Boolean || p.Datatype == Enum && len(p.Options) == 1)
				if got := read[base+"/"+n.ID+"/"+p.ID]; got != 1 && !button {
					t.Errorf("%s/%s is read %d times", n.ID, p.ID, got)
				}
			}
		}
	})
}
