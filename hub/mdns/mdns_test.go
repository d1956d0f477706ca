package mdns

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/miekg/dns"
)

func TestLabel(t *testing.T) {
	tests := []struct{ name, want string }{
		{"Lar 3F2A", "Lar 3F2A"},
		{"Jones Jr.", "Jones Jr"},
		{"...", "Lar"},
		{"", "Lar"},
		{strings.Repeat("x", 64), strings.Repeat("x", 60)},
		{strings.Repeat("ж", 64), strings.Repeat("ж", 30)},
		{"x" + strings.Repeat("ж", 64), "x" + strings.Repeat("ж", 29)},
	}
	for _, tt := range tests {
		if got := label(tt.name); got != tt.want {
			t.Errorf("label(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A name must come off the wire as the text it was announced by, or the
// service library does not know it for its own.
func FuzzEscape(f *testing.F) {
	for _, name := range []string{"Lar 3F2A", "Anna's & Ben's (old)", `a.b\c;"@`, "Österreich", "\x00"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		name = label(strings.ToValidUTF8(name, "?"))
		if !utf8.ValidString(name) {
			t.Fatalf("label is not UTF-8: %q", name)
		}
		full := escape(name) + "._mqtt._tcp.local."
		buf := make([]byte, 256)
		n, err := dns.PackDomainName(full, buf, 0, nil, false)
		if err != nil {
			t.Fatalf("pack %q: %v", full, err)
		}
		if got := string(buf[1 : 1+buf[0]]); got != name {
			t.Fatalf("%q is %q on the wire", name, got)
		}
		if got, _, err := dns.UnpackDomainName(buf[:n], 0); err != nil || got != full {
			t.Fatalf("%q comes back as %q, %v", full, got, err)
		}
	})
}
