package template

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A token is one word of a template.
type token struct {
	kind tokenKind
	text string
}

type tokenKind uint8

const (
	tokEnd      tokenKind = iota // of the template
	tokText                      // between tags
	tokVarBegin                  // {{
	tokVarEnd                    // }}
	tokBlock                     // {%
	tokBlockEnd                  // %}
	tokName                      //
	tokString                    // without quotes, escapes undone
	tokInt                       //
	tokFloat                     //
	tokOp                        // an operator or bracket
)

// operators, longest first.
var operators = []string{"**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ","}

// lex cuts a template into tokens.
func lex(src string) ([]token, error) {
	var out []token
	for src != "" {
		i := strings.IndexByte(src, '{')
		for i >= 0 && (i+1 == len(src) || !strings.ContainsRune("{%#", rune(src[i+1]))) {
			next := strings.IndexByte(src[i+1:], '{')
			if next < 0 {
				i = -1
				break
			}
			i += 1 + next
		}
		if i < 0 {
			out = append(out, token{tokText, src})
			break
		}
		before, tag := src[:i], src[i+1]
		src = src[i+2:]
		if strings.HasPrefix(src, "-") {
			before = strings.TrimRight(before, " \t\r\n")
			src = src[1:]
		} else if tag == '%' && strings.HasPrefix(src, "+") {
			src = src[1:]
		}
		if before != "" {
			out = append(out, token{tokText, before})
		}
		var err error
		switch tag {
		case '#':
			end := strings.Index(src, "#}")
			if end < 0 {
				return nil, fmt.Errorf("a comment does not end")
			}
			trim := strings.HasSuffix(src[:end], "-")
			src = src[end+2:]
			if trim {
				src = strings.TrimLeft(src, " \t\r\n")
			}
		case '{':
			out = append(out, token{kind: tokVarBegin})
			out, src, err = lexTag(out, src, "}}", tokVarEnd)
		case '%':
			if rest, ok := cutRaw(src); ok {
				end, after := endRaw(rest)
				if end < 0 {
					return nil, fmt.Errorf("{%% raw %%} does not end")
				}
				out = append(out, token{tokText, rest[:end]})
				src = rest[after:]
				continue
			}
			out = append(out, token{kind: tokBlock})
			out, src, err = lexTag(out, src, "%}", tokBlockEnd)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(out, token{kind: tokEnd}), nil
}

// cutRaw recognises the rest of {% raw %}.
func cutRaw(src string) (rest string, ok bool) {
	s, ok := strings.CutPrefix(strings.TrimLeft(src, " \t\r\n"), "raw")
	if !ok {
		return "", false
	}
	return strings.CutPrefix(strings.TrimPrefix(strings.TrimLeft(s, " \t\r\n"), "-"), "%}")
}

// endRaw finds {% endraw %}.
func endRaw(s string) (start, after int) {
	for from := 0; ; {
		i := strings.Index(s[from:], "{%")
		if i < 0 {
			return -1, 0
		}
		start = from + i
		rest := strings.TrimLeft(strings.TrimPrefix(s[start+2:], "-"), " \t\r\n")
		if rest, ok := strings.CutPrefix(rest, "endraw"); ok {
			rest = strings.TrimPrefix(strings.TrimLeft(rest, " \t\r\n"), "-")
			if rest, ok := strings.CutPrefix(rest, "%}"); ok {
				return start, len(s) - len(rest)
			}
		}
		from = start + 2
	}
}

// lexTag cuts the inside of a tag; brackets inside hide the end.
func lexTag(out []token, src, end string, endKind tokenKind) ([]token, string, error) {
	depth := 0
	for {
		src = strings.TrimLeft(src, " \t\r\n")
		if src == "" {
			return nil, "", fmt.Errorf("a tag does not end with %s", end)
		}
		if depth == 0 {
			if rest, ok := strings.CutPrefix(src, end); ok {
				return append(out, token{kind: endKind}), rest, nil
			}
			if rest, ok := strings.CutPrefix(src, "-"+end); ok {
				return append(out, token{kind: endKind}), strings.TrimLeft(rest, " \t\r\n"), nil
			}
		}
		c := src[0]
		switch {
		case c == '\'' || c == '"':
			n := 1
			for n < len(src) && src[n] != c {
				if src[n] == '\\' {
					n++
				}
				n++
			}
			if n >= len(src) {
				return nil, "", fmt.Errorf("a text does not end")
			}
			out = append(out, token{tokString, unescape(src[1:n])})
			src = src[n+1:]
		case c >= '0' && c <= '9':
			n, kind := lexNumber(src)
			out = append(out, token{kind, strings.ReplaceAll(src[:n], "_", "")})
			src = src[n:]
		case c == '_' || c >= utf8.RuneSelf || unicode.IsLetter(rune(c)):
			n := 0
			for n < len(src) {
				r, size := utf8.DecodeRuneInString(src[n:])
				if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
					break
				}
				n += size
			}
			if n == 0 {
				return nil, "", fmt.Errorf("unexpected %q", src[:1])
			}
			out = append(out, token{tokName, src[:n]})
			src = src[n:]
		default:
			op := ""
			for _, o := range operators {
				if strings.HasPrefix(src, o) {
					op = o
					break
				}
			}
			switch op {
			case "":
				return nil, "", fmt.Errorf("unexpected %q", src[:1])
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				if depth--; depth < 0 {
					return nil, "", fmt.Errorf("unexpected %q", op)
				}
			}
			out = append(out, token{tokOp, op})
			src = src[len(op):]
		}
	}
}

func lexNumber(s string) (n int, kind tokenKind) {
	digits := func() bool {
		from := n
		for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '_') {
			n++
		}
		return n > from
	}
	digits()
	kind = tokInt
	if n+1 < len(s) && s[n] == '.' && s[n+1] >= '0' && s[n+1] <= '9' {
		n++
		digits()
		kind = tokFloat
	}
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		back := n
		n++
		if n < len(s) && (s[n] == '+' || s[n] == '-') {
			n++
		}
		if digits() {
			kind = tokFloat
		} else {
			n = back
		}
	}
	return n, kind
}

// unescape undoes the escapes of a Python text; others stay as they are, as
// patterns have them.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		size := 0
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'f':
			b.WriteByte('\f')
		case 'v':
			b.WriteByte('\v')
		case 'a':
			b.WriteByte('\a')
		case '\n':
		case '\\', '\'', '"':
			b.WriteByte(s[i])
		case 'b':
			b.WriteByte('\b')
		case 'x':
			size = 2
		case 'u':
			size = 4
		default:
			b.WriteByte('\\')
			b.WriteByte(s[i])
		}
		if size > 0 {
			if i+size < len(s) {
				if r, err := strconv.ParseUint(s[i+1:i+1+size], 16, 32); err == nil {
					b.WriteRune(rune(r))
					i += size
					continue
				}
			}
			b.WriteByte('\\')
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
