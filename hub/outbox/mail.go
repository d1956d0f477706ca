package outbox

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"lar.home/automations"
	"lar.home/ui"
)

// mailTo sends a notification as a mail to a server whose certificate comes
// from roots. A repetition has the same Message-ID.
func mailTo(ctx context.Context, c ui.Channel, n note, roots *x509.CertPool) error {
	from, err := mail.ParseAddress(c.From)
	if err != nil {
		return permanent(err)
	}
	to, err := mail.ParseAddressList(c.To)
	if err != nil {
		return permanent(err)
	}
	body, err := message(from, to, n)
	if err != nil {
		return permanent(err)
	}
	host, _, err := net.SplitHostPort(c.Server)
	if err != nil {
		return permanent(err)
	}
	conn, err := (&net.Dialer{Timeout: connectWithin, Control: checkAddress}).DialContext(ctx, "tcp", c.Server)
	if err != nil {
		if errors.Is(err, errAddress) {
			err = permanent(err)
		}
		return err
	}
	defer conn.Close()
	if at, ok := ctx.Deadline(); ok {
		conn.SetDeadline(at)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // the hub stops
	defer stop()
	trust := &tls.Config{ServerName: host, RootCAs: roots, MinVersion: tls.VersionTLS12}
	if c.Security == ui.TLS {
		conn = tls.Client(conn, trust)
	}
	client, err := smtp.NewClient(conn, host)
	if err != nil {
		return smtpError(err)
	}
	defer client.Close()
	if c.Security == ui.StartTLS {
		if ok, _ := client.Extension("STARTTLS"); !ok {
			return permanent(errors.New("the mail server offers no protected connection (STARTTLS)"))
		}
		if err := client.StartTLS(trust); err != nil {
			return smtpError(err)
		}
	}
	if c.Password != "" {
		if err := client.Auth(authOf(client, c, host)); err != nil {
			return smtpError(err)
		}
	}
	if err := client.Mail(from.Address); err != nil {
		return smtpError(err)
	}
	taken := 0
	var refused error
	for _, a := range to {
		if err := client.Rcpt(a.Address); err != nil {
			refused = smtpError(fmt.Errorf("%s: %w", a.Address, err))
			continue
		}
		taken++
	}
	if taken == 0 {
		return refused
	}
	w, err := client.Data()
	if err != nil {
		return smtpError(err)
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return smtpError(err)
	}
	client.Quit() // it was taken, whatever comes of this
	return nil
}

// smtpError tells apart what a further try would meet again.
func smtpError(err error) error {
	if said, ok := errors.AsType[*textproto.Error](err); ok && said.Code >= 500 {
		return permanent(err)
	}
	return err
}

// authOf picks how to sign in: PLAIN, or LOGIN where the server knows no other.
func authOf(client *smtp.Client, c ui.Channel, host string) smtp.Auth {
	_, ways := client.Extension("AUTH")
	for way := range strings.FieldsSeq(ways) {
		if strings.EqualFold(way, "PLAIN") {
			return smtp.PlainAuth("", c.User, c.Password, host)
		}
	}
	return &login{c.User, c.Password}
}

// login is AUTH LOGIN, which never became a standard and which some servers
// alone have. It is only used on a protected connection.
type login struct{ user, password string }

func (l *login) Start(server *smtp.ServerInfo) (string, []byte, error) {
	if !server.TLS {
		return "", nil, permanent(errors.New("a password is not sent over a connection without protection"))
	}
	return "LOGIN", nil, nil
}

func (l *login) Next(asked []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	switch strings.ToLower(strings.TrimSpace(string(asked))) {
	case "username:":
		return []byte(l.user), nil
	case "password:":
		return []byte(l.password), nil
	}
	return nil, permanent(fmt.Errorf("the mail server asks for %q", asked))
}

// message writes a mail.
func message(from *mail.Address, to []*mail.Address, n note) ([]byte, error) {
	var b bytes.Buffer
	header := func(name, text string) { fmt.Fprintf(&b, "%s: %s\r\n", name, text) }
	first, _, _ := strings.Cut(n.text, "\n")
	if r := []rune(first); len(r) > 70 {
		first = string(r[:70]) + "…"
	}
	var list []string
	for _, a := range to {
		list = append(list, a.String())
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	header("From", from.String())
	header("To", strings.Join(list, ",\r\n "))
	header("Subject", mime.QEncoding.Encode("utf-8", cmp.Or(n.title, first)))
	header("Date", n.at.Format(time.RFC1123Z))
	header("Message-ID", "<"+n.key+"@"+cmp.Or(domain, "lar.home")+">")
	header(KeyHeader, n.key)
	header("Auto-Submitted", "auto-generated")
	if n.urgency == automations.High {
		header("Importance", "high")
	}
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	if _, err := w.Write([]byte(strings.ReplaceAll(n.text, "\r\n", "\n"))); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	b.WriteString("\r\n")
	return b.Bytes(), nil
}
