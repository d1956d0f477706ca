package automations

import (
	"slices"
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
	f.Add("\n\n\n", "\n\n\n0")
	f.Fuzz(func(t *testing.T, old, now string) {
		if strings.Count(old, "\n")+strings.Count(now, "\n") > 200 {
			return
		}
		list := Difference(old, now)
		check := func(text string, other byte) {
			shown := slices.DeleteFunc(slices.Clone(list), func(l Line) bool { return l.Op == other })
			if len(list) > 0 && !stands(shown, lines(text)) {
				t.Fatalf("the difference of %q and %q is %q, in which %q does not stand", old, now, list, text)
			}
		}
		check(old, '+')
		check(now, '-')
	})
}

// stands tells whether a text is made of these lines, of which a '~' stands for
// any number.
func stands(shown []Line, text []string) bool {
	at, left, from := 0, -1, 0 // left: the last '~', which stands for the lines before from
	for i := 0; i < len(text); {
		switch {
		case at < len(shown) && shown[at].Op == '~':
			left, from = at, i
			at++
		case at < len(shown) && shown[at].Text == text[i]:
			at, i = at+1, i+1
		case left >= 0:
			from++
			at, i = left+1, from
		default:
			return false
		}
	}
	for at < len(shown) && shown[at].Op == '~' {
		at++
	}
	return at == len(shown)
}
