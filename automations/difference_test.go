package automations

import (
	"strings"
	"testing"
)

func TestDifference(t *testing.T) {
	tests := []struct{ old, now, want string }{
		{"a\nb\n", "a\nb\n", ""},
		{"", "a\nb\n", "+a +b"},
		{"a\n", "", "-a"},
		{"a\nb\nc\n", "a\nx\nc\n", " a -b +x  c"},
		{"1\n2\n3\n4\n5\n6\n7\n", "1\n2\n3\n4\nx\n5\n6\n7\n", "~  3  4 +x  5  6 ~"},
		{"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "2\n3\n4\n5\n6\n7\n8\n9\n9\n", "-1  2  3 ~  7  8 +9  9"},
		{"a", "a\n", ""},
	}
	for _, tt := range tests {
		var got []string
		for _, l := range Difference(tt.old, tt.now) {
			got = append(got, string(l.Op)+l.Text)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("Difference(%q, %q) = %q, want %q", tt.old, tt.now, s, tt.want)
		}
	}
}

// FuzzDifference holds that the lines of a difference are those of both texts:
// without '+' and '~' they follow one another in the old one, without '-' in
// the new one.
func FuzzDifference(f *testing.F) {
	f.Add("a\nb\nc", "a\nc\nd")
	f.Add("x\n\n\ny", "y\nx")
	f.Fuzz(func(t *testing.T, old, now string) {
		if strings.Count(old, "\n")+strings.Count(now, "\n") > 200 {
			return
		}
		check := func(text string, own, other byte) {
			rest, gone := lines(text), 0
			for _, l := range Difference(old, now) {
				if l.Op == other {
					continue
				}
				if l.Op == '~' {
					gone = len(rest)
					continue
				}
				i := 0
				for i < len(rest) && rest[i] != l.Text && gone > 0 {
					i++
				}
				if i >= len(rest) || rest[i] != l.Text {
					t.Fatalf("the difference of %q and %q has %q, which %q has not there", old, now, l.Text, text)
				}
				rest, gone = rest[i+1:], 0
			}
			if gone == 0 && len(rest) > 0 && len(Difference(old, now)) > 0 {
				t.Fatalf("the difference of %q and %q leaves out %q", old, now, rest)
			}
		}
		check(old, '-', '+')
		check(now, '+', '-')
	})
}
