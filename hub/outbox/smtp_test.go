package outbox

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	"lar.home/ui"
)

// A mailServer is a small mail server for tests. It takes mails for whoever is
// not in refuses.
type mailServer struct {
	ln       net.Listener
	tls      *tls.Config
	security ui.Security
	auth     string // the ways it offers
	user     string
	password string
	refuses  map[string]string // address → answer

	mu    sync.Mutex
	mails []string // "to: …" and the text
	fail  []string // answers to the next DATA
}

func newMailServer(t *testing.T, trust *tls.Config, security ui.Security, more func(s *mailServer)) *mailServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{ln: ln, tls: trust, security: security, auth: "PLAIN LOGIN", user: "jo", password: "secret words", refuses: map[string]string{}}
	if more != nil {
		more(s)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *mailServer) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.mails...)
}

func (s *mailServer) serve(conn net.Conn) {
	defer func() { conn.Close() }()
	secure := s.security == ui.TLS
	if secure {
		conn = tls.Server(conn, s.tls)
	}
	in := textproto.NewReader(bufio.NewReader(conn))
	say := func(format string, args ...any) { fmt.Fprintf(conn, format+"\r\n", args...) }
	say("220 mail.test ready")
	known := s.password == ""
	var to []string
	for {
		line, err := in.ReadLine()
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			say("250-mail.test")
			if s.security == ui.StartTLS && !secure {
				say("250-STARTTLS")
			}
			if secure {
				say("250-AUTH %s", s.auth)
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go on")
			conn, secure = tls.Server(conn, s.tls), true
			in = textproto.NewReader(bufio.NewReader(conn))
		case "AUTH":
			way, first, _ := strings.Cut(rest, " ")
			got := ""
			if way == "PLAIN" {
				b, _ := base64.StdEncoding.DecodeString(first)
				got = string(b)
			} else {
				for _, ask := range []string{"Username:", "Password:"} {
					say("334 %s", base64.StdEncoding.EncodeToString([]byte(ask)))
					line, _ := in.ReadLine()
					b, _ := base64.StdEncoding.DecodeString(line)
					got += "\x00" + string(b)
				}
			}
			if known = got == "\x00"+s.user+"\x00"+s.password; known {
				say("235 welcome")
			} else {
				say("535 no")
			}
		case "MAIL":
			if to = nil; !known {
				say("530 sign in first")
			} else {
				say("250 ok")
			}
		case "RCPT":
			address := strings.TrimSuffix(strings.TrimPrefix(rest, "TO:<"), ">")
			if answer := s.refuses[address]; answer != "" {
				say("%s", answer)
				continue
			}
			to = append(to, address)
			say("250 ok")
		case "DATA":
			say("354 go on")
			lines, err := in.ReadDotLines()
			if err != nil {
				return
			}
			s.mu.Lock()
			if len(s.fail) > 0 {
				say("%s", s.fail[0])
				s.fail = s.fail[1:]
				s.mu.Unlock()
				continue
			}
			s.mails = append(s.mails, "to: "+strings.Join(to, " ")+"\n"+strings.Join(lines, "\n"))
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 what?")
		}
	}
}
