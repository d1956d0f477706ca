package settings

import (
	"net"
	"net/mail"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"lar.home/ui"
)

// maxField bounds each field of a channel, in bytes.
const maxField = 2048

// CheckChannel says what is wrong with a channel, and takes blanks off its
// fields. A rule names a channel, so its name is a word like an ID.
func CheckChannel(c *ui.Channel) error {
	wrong := func(field, text string) error { return &ui.SettingError{Field: field, Text: text} }
	for _, f := range []*string{&c.Name, &c.URL, &c.Token, &c.Server, &c.User, &c.From, &c.To} {
		*f = strings.TrimSpace(*f)
		if len(*f) > maxField || !printable(*f) {
			return wrong("", "A field is too long, or holds what cannot be shown.")
		}
	}
	if len(c.Password) > maxField || !printable(c.Password) {
		return wrong("password", "A password is too long, or holds what cannot be shown.")
	}
	if c.Name == "" || len(c.Name) > 48 || strings.Trim(c.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return wrong("name", "A name has 1 to 48 of a-z, 0-9 and -, like family.")
	}
	switch c.Kind {
	case ui.Ntfy, ui.Webhook:
		u, err := url.Parse(c.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
			return wrong("url", "This is no address like https://ntfy.sh/our-topic.")
		}
		if c.Kind == ui.Ntfy && (strings.Trim(u.Path, "/") == "" || u.RawQuery != "") {
			return wrong("url", "The address of an ntfy channel ends with its topic, like https://ntfy.sh/our-topic.")
		}
	case ui.Email:
		host, port, err := net.SplitHostPort(c.Server)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
			return wrong("server", "A mail server is a name and a port, like smtp.example.org:587.")
		}
		if c.Security != ui.TLS && c.Security != ui.StartTLS && c.Security != ui.NoTLS {
			return wrong("security", "Choose how the connection is protected.")
		}
		if c.Security == ui.NoTLS && c.Password != "" {
			return wrong("security", "A password is not sent over a connection without protection.")
		}
		if _, err := mail.ParseAddress(c.From); err != nil {
			return wrong("from", "This is no mail address.")
		}
		if list, err := mail.ParseAddressList(c.To); err != nil || len(list) > 20 {
			return wrong("to", "Give 1 to 20 mail addresses, with a comma between them.")
		}
	default:
		return wrong("kind", "Choose what kind of channel it is.")
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}
