package scram

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"lar.home/hub/scram/scramtest"
)

// constant is a source of bytes that are known before.
type constant byte

func (c constant) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c)
	}
	return len(p), nil
}

// TestVector plays the example of RFC 7677, section 3.
func TestVector(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	v, err := New([]byte("pencil"), salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	// Its server's nonce is text that no base64 of ours would make.
	c := Start(func(name string) (Verifier, bool) { return v, name == "user" }, constant(0))
	if _, _, err := c.Next([]byte("n,,n=user,r=rOprNGfwEbeRWgbNEkqO")); err != nil {
		t.Fatal(err)
	}
	const nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	ours := c.nonce
	c.nonce, c.first = nonce, strings.ReplaceAll(c.first, ours, nonce)
	if want := "n=user,r=rOprNGfwEbeRWgbNEkqO,r=" + nonce + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"; c.first != want {
		t.Errorf("the messages so far are %q, want %q", c.first, want)
	}
	answer, done, err := c.Next([]byte("c=biws,r=" + nonce + ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="))
	if err != nil || !done || string(answer) != "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("answer %q, done %v, %v", answer, done, err)
	}
}

// client is the other side, for one sign-in.
func client(t *testing.T, c *Conversation, header, name, password string) (answer []byte, done bool, err error) {
	t.Helper()
	bare := "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(name) + ",r=abc"
	server, done, err := c.Next([]byte(header + bare))
	if err != nil || done {
		return nil, done, err
	}
	return c.Next(scramtest.Answer(header, bare, string(server), password))
}

func TestConversation(t *testing.T) {
	salt := []byte("0123456789abcdef")
	v, err := New([]byte("secret"), salt, minIterations)
	if err != nil {
		t.Fatal(err)
	}
	lookup := func(name string) (Verifier, bool) {
		if name == "lamp" || name == "a=b,c" {
			return v, true
		}
		return Nobody([]byte("house"), name, minIterations), false
	}
	for _, tt := range []struct {
		header, name, password string
		want                   error
	}{
		{"n,,", "lamp", "secret", nil},
		{"y,,", "lamp", "secret", nil},
		{"n,a=lamp,", "lamp", "secret", nil},
		{"n,,", "a=b,c", "secret", nil},
		{"n,,", "lamp", "Secret", ErrProof},
		{"n,,", "nobody", "secret", ErrProof},
		{"n,a=door,", "lamp", "secret", ErrMessage},
		{"p=tls-unique,,", "lamp", "secret", ErrMessage},
		{"", "lamp", "secret", ErrMessage},
		{"n,,m=x,", "lamp", "secret", ErrMessage},
		{"n,,", "", "secret", ErrMessage},
		{"n,,", strings.Repeat("x", maxName+1), "secret", ErrMessage},
	} {
		answer, done, err := client(t, Start(lookup, constant(1)), tt.header, tt.name, tt.password)
		if !errors.Is(err, tt.want) || done != (tt.want == nil) || done != bytes.HasPrefix(answer, []byte("v=")) {
			t.Errorf("%q as %.20q with %q: answer %q, done %v, %v; want %v", tt.header, tt.name, tt.password, answer, done, err, tt.want)
		}
	}

	// What is wrong in the last message.
	for _, change := range [][2]string{
		{"c=biws", "c=eSws"}, {"r=abc", "r=abd"}, {",p=", ",p=AAAA"}, {",p=", ""}, {"c=", "d="}, {",r=", ",x=1,r="},
	} {
		c := Start(lookup, constant(1))
		server, _, err := c.Next([]byte("n,,n=lamp,r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		last := bytes.Replace(scramtest.Answer("n,,", "n=lamp,r=abc", string(server), "secret"), []byte(change[0]), []byte(change[1]), 1)
		if _, done, err := c.Next(last); err == nil || done {
			t.Errorf("%q is taken", last)
		}
		if _, done, err := c.Next(scramtest.Answer("n,,", "n=lamp,r=abc", string(server), "secret")); err == nil || done {
			t.Error("there is a second try")
		}
	}

	// Who does not begin is asked to, once.
	c := Start(lookup, constant(1))
	if answer, done, err := c.Next(nil); len(answer) != 0 || done || err != nil {
		t.Errorf("an empty beginning: %q %v %v", answer, done, err)
	}
	if _, _, err := c.Next(nil); err == nil {
		t.Error("and another is taken")
	}
	c = Start(lookup, constant(1))
	c.Next(nil)
	if _, done, err := client(t, c, "n,,", "lamp", "secret"); !done || err != nil {
		t.Errorf("after an empty beginning: %v %v", done, err)
	}
	for _, bad := range []string{"n,,n=lamp,r=", "n,,n=lamp,r=a b", "n,,n=la=mp,r=abc", "n,,r=abc,n=lamp", "n,,n=\xff,r=abc", "n,,n=lamp,r=" + strings.Repeat("x", 3000)} {
		if _, _, err := Start(lookup, constant(1)).Next([]byte(bad)); !errors.Is(err, ErrMessage) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

func TestVerifierText(t *testing.T) {
	v, err := New([]byte("secret"), []byte("salt"), Iterations)
	if err != nil {
		t.Fatal(err)
	}
	text, err := v.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var got Verifier
	if err := got.UnmarshalText(text); err != nil || !got.Matches([]byte("secret")) || got.Matches([]byte("other")) {
		t.Errorf("%s is read as %+v, %v", text, got, err)
	}
	for _, bad := range []string{"", "SCRAM-SHA-256", "SCRAM-SHA-1" + string(text[13:]), strings.Replace(string(text), "10000", "1", 1),
		strings.Replace(string(text), "10000", "99999999", 1), string(text) + ":", string(text[:len(text)-4]), strings.Replace(string(text), "=", "?", 1)} {
		if err := got.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestNobody(t *testing.T) {
	a, again, b := Nobody([]byte("s"), "a", 1, 2, 3), Nobody([]byte("s"), "a", 1, 2, 3), Nobody([]byte("s"), "b", 1, 2, 3)
	if !bytes.Equal(a.Salt, again.Salt) || a.Iterations != again.Iterations {
		t.Error("one name has two salts")
	}
	if bytes.Equal(a.Salt, b.Salt) || len(a.Salt) != SaltSize {
		t.Error("two names have one salt")
	}
	if c := Nobody([]byte("t"), "a"); bytes.Equal(a.Salt, c.Salt) {
		t.Error("two houses have one salt for a name")
	}
}

func FuzzConversation(f *testing.F) {
	f.Add("n,,n=lamp,r=abc", "c=biws,r=abc,p=AAAA")
	v, _ := New([]byte("secret"), []byte("salt"), minIterations)
	f.Fuzz(func(t *testing.T, first, last string) {
		c := Start(func(string) (Verifier, bool) { return v, true }, constant(1))
		if _, done, err := c.Next([]byte(first)); done {
			t.Fatalf("%q is enough: %v", first, err)
		}
		if _, done, _ := c.Next([]byte(last)); done {
			t.Fatalf("%q and %q are enough without the password", first, last)
		}
	})
}
