package rights

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lar.home/mqtt"
)

func must(t *testing.T, way string, lines ...string) *ACL {
	t.Helper()
	a, err := ParseACL(lines, "", way)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestACL(t *testing.T) {
	const pub, sub, recv = mqtt.MayPublish, mqtt.MaySubscribe, mqtt.MayReceive
	lines := []string{
		`deny * both secret/#`,
		`allow lamp publish lamps/%c/state`,
		`allow lamp subscribe lamps/%c/#`,
		`allow * both home/%u/#`,
		`allow "two words" publish a/+/b`,
		`allow - subscribe news`,
		`allow admin both #`,
		`deny admin subscribe x/y`,
	}
	tests := []struct {
		user, client string
		access       mqtt.Access
		topic        string
		strict       bool
		filter       bool // what the loose way says
	}{
		{"lamp", "l1", pub, "lamps/l1/state", true, true},
		{"lamp", "l1", pub, "lamps/l2/state", false, false},
		{"lamp", "+", pub, "lamps/l2/state", false, false}, // SEC-04
		{"lamp", "+", pub, "lamps/+/state", false, false},
		{"lamp", "+", sub, "lamps/+/state", false, true},
		{"lamp", "#", sub, "lamps/#", false, true},
		{"lamp", "a/b", sub, "lamps/a/b/c", false, true},
		{"lamp", "l1", sub, "lamps/l1/#", true, true},
		{"lamp", "l1", sub, "lamps/l1/+", true, true},
		{"lamp", "l1", sub, "lamps/#", false, true}, // SEC-07
		{"lamp", "l1", sub, "#", false, true},
		{"lamp", "l1", sub, "+/l1/state", false, true},
		{"lamp", "l1", recv, "lamps/l1/state", true, true},
		{"lamp", "l1", recv, "lamps/l1", true, true}, // # matches the level above
		{"lamp", "l1", recv, "lamps/l2/state", false, false},
		{"jo", "c", pub, "home/jo/x", true, true},
		{"jo", "c", pub, "home/sam/x", false, false},
		{"", "c", pub, "home//x", false, false},
		{"two words", "c", pub, "a/x/b", true, true},
		{"two words", "c", pub, "a/b", false, false},
		{"", "c", sub, "news", true, true},
		{"jo", "c", sub, "news", false, true},
		{"admin", "c", pub, "any/thing", true, true},
		{"admin", "c", pub, "$other/thing", false, false},
		{"admin", "c", pub, "secret/1", false, false},
		{"admin", "c", sub, "secret/+", false, false},
		{"admin", "c", sub, "#", false, true},   // it holds secret topics
		{"admin", "c", sub, "x/y", true, true},  // the line before counts
		{"admin", "c", sub, "+/1", false, true}, // secret/1 is one
		{"admin", "c", recv, "secret/1", false, false},
		{"admin", "c", recv, "open/1", true, true},
	}
	strict, err := ParseACL(lines, "", "strict")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*ACL{nil, must(t, "strict", "allow * both #"), must(t, "filter", "allow * both #"), must(t, "filter", "allow ann subscribe $SYS/#")} {
		for _, access := range []mqtt.Access{sub, recv} {
			for _, name := range []string{"$SYS/#", "$SYS", "$SYS/broker/uptime"} {
				if a.Allows("jo", "c", access, name) {
					t.Errorf("%v of %q is allowed by %+v", access, name, a)
				}
			}
		}
	}
	if a := must(t, "strict", "allow ann subscribe $SYS/#"); !a.Allows("ann", "c", sub, "$SYS/#") || !a.Allows("ann", "c", recv, "$SYS/broker/uptime") {
		t.Error("$SYS is denied though a line names it")
	}
	loose, err := ParseACL(lines, "", "filter")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		if got := strict.Allows(tt.user, tt.client, tt.access, tt.topic); got != tt.strict {
			t.Errorf("strict: user %q, client %q, %v %q: %v, want %v", tt.user, tt.client, tt.access, tt.topic, got, tt.strict)
		}
		if got := loose.Allows(tt.user, tt.client, tt.access, tt.topic); got != tt.filter {
			t.Errorf("filter: user %q, client %q, %v %q: %v, want %v", tt.user, tt.client, tt.access, tt.topic, got, tt.filter)
		}
	}
	if n := testing.AllocsPerRun(100, func() { strict.Allows("admin", "c", recv, "a/b/c/d/e") }); n > 0 {
		t.Errorf("a question allocates %v times", n)
	}
}

func TestACLFailsClosed(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		name := filepath.Join(dir, "acl")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, line := range []string{"permit * both #", "allow", "allow *", "allow * write #", "allow * both", "allow * both a/#/b", `allow "jo both #`} {
		if _, err := ParseACL([]string{"allow * both #", line}, "", "strict"); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("line %q: %v, want an error that names it", line, err)
		}
		if _, err := ParseACL(nil, file("# rights\n\n"+line), "strict"); err == nil || !strings.Contains(err.Error(), ":3:") {
			t.Errorf("line %q of a file: %v, want an error that names it", line, err)
		}
	}
	if _, err := ParseACL(nil, file("# nothing\n"), "strict"); err == nil {
		t.Error("an empty file allows everything")
	}
	if _, err := ParseACL(nil, filepath.Join(dir, "missing"), "strict"); err == nil {
		t.Error("a missing file allows everything")
	}
	if a, err := ParseACL(nil, "", "strict"); err != nil || !a.Allows("", "", mqtt.MaySubscribe, "#") {
		t.Error("without any line not everything is allowed")
	}
}

const mosquittoLine = "imported:$7$101$j8It3zdb/i+pwZxV$wMO9IKoLJ5UtFu8z280TPjZpJzwO9bBvxzSYusj+ySPVhVC1tdSv6MaB180Or7g7i9DhgEk5dD+nDFxzbG1g/Q==\n"

// argonLine is in the form of mosquitto_passwd 2.1, of "password"; the hash is
// the one of the reference implementation's own tests.
const argonLine = "modern:$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n"

// One hash is what mosquitto_passwd 2.0 made of "secret".
func TestPasswords(t *testing.T) {
	made, err := Line("made", "secret")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(file, []byte("# users\n"+made+"\n"+argonLine+mosquittoLine), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ReadPasswords(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, password string
		want           bool
	}{
		{"made", "secret", true}, {"made", "secret", true}, {"made", "Secret", false}, {"made", "", false},
		{"modern", "password", true}, {"modern", "Password", false},
		{"imported", "secret", true}, {"imported", "made", false}, {"nobody", "secret", false}, {"", "", false},
	} {
		if got := p.Verify(tt.name, []byte(tt.password)); got != tt.want {
			t.Errorf("Verify(%q, %q) = %v, want %v", tt.name, tt.password, got, tt.want)
		}
	}
	if v, ok := p.Verifier("made"); !ok || !v.Matches([]byte("secret")) {
		t.Error("SCRAM-SHA-256 cannot be done with a line of ours")
	}
	for _, name := range []string{"imported", "modern", "nobody"} {
		if _, ok := p.Verifier(name); ok {
			t.Errorf("SCRAM-SHA-256 can be done with that of %s", name)
		}
	}
	for _, bad := range []string{"jo", "jo:", "jo:secret", ":$6$aa$aa", "jo:$7$0$AAAA$AAAA", "jo:$7$99999999$AAAA$AAAA",
		strings.Replace(argonLine, "m=65536", "m=6553600", 1), strings.Replace(argonLine, "t=2", "t=2000", 1), strings.Replace(argonLine, "v=19", "v=16", 1),
		strings.Replace(argonLine, "argon2id", "argon2i", 1), strings.Replace(argonLine, "p=1", "p=0", 1), strings.Replace(made, "10000", "1", 1), made + "\n" + made} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPasswords(file); err == nil {
			t.Errorf("a file with %q is taken", bad)
		}
	}
}
