package devices

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
)

// maxSlug is the longest slug, in bytes.
const maxSlug = 120

// slugOf returns the part of an entity ID after the kind: what the description
// suggests, else made of the names of device and entity.
func slugOf(s *spec, device string) string {
	name := s.suggest
	if name == "" {
		name = s.name
		if device != "" && !strings.HasPrefix(name, device) {
			name = device + " " + name
		}
	}
	slug := slugify(name)
	if slug == "" {
		sum := sha256.Sum256([]byte(s.identity))
		slug = hex.EncodeToString(sum[:4])
	}
	return slug
}

// slugify makes lower-case letters, digits and single underscores of a name.
func slugify(name string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(name) {
		text := string(r)
		if ascii, ok := plainLetters[r]; ok {
			text = ascii
		} else if r >= 0x80 || !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte('_')
			gap = false
		}
		if b.Len() >= maxSlug {
			break
		}
		b.WriteString(text)
	}
	return strings.TrimRight(b.String(), "_")
}

// plainLetters spells letters of Europe's languages in ASCII.
var plainLetters = func() map[rune]string {
	m := map[rune]string{'ä': "a", 'ö': "o", 'ü': "u", 'ß': "ss", 'æ': "ae", 'ø': "o", 'å': "a", 'œ': "oe", 'þ': "th", 'ð': "d", 'ł': "l", 'đ': "d", 'ı': "i"}
	for ascii, letters := range map[string]string{
		"a": "àáâãāăą", "c": "çćĉċč", "d": "ď", "e": "èéêëēĕėęě", "g": "ĝğġģ", "h": "ĥħ", "i": "ìíîïĩīĭį",
		"j": "ĵ", "k": "ķ", "l": "ĺļľ", "n": "ñńņňŋ", "o": "òóôõōŏő", "r": "ŕŗř", "s": "śŝşšș", "t": "ţťŧț",
		"u": "ùúûũūŭůűų", "w": "ŵ", "y": "ýÿŷ", "z": "źżž",
		"b": "б", "v": "в", "f": "ф", "m": "м", "p": "п",
	} {
		for _, r := range letters {
			m[r] = ascii
		}
	}
	for i, r := range []rune("абвгдежзийклмнопрстуфхцчшщъыьэюя") {
		m[r] = strings.Fields("a b v g d e zh z i i k l m n o p r s t u f kh ts ch sh shch _ y _ e iu ia")[i]
	}
	for i, r := range []rune("αβγδεζηθικλμνξοπρστυφχψω") {
		m[r] = strings.Fields("a b g d e z e th i k l m n x o p r s t u ph kh ps o")[i]
	}
	return m
}()
