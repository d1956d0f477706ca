package outbox

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lar.home/automations"
	"lar.home/ui"
)

const (
	connectWithin = 10 * time.Second
	maxAnswer     = 64 << 10 // bytes of a body that are read, and of headers
)

// KeyHeader is the header that carries the key by which a receiver can tell a
// repetition.
const KeyHeader = "Idempotency-Key"

// web sends over HTTP. It follows no redirect, and checks certificates.
type web struct{ client http.Client }

func newWeb(roots *x509.CertPool) *web {
	dialer := &net.Dialer{Timeout: connectWithin, Control: checkAddress}
	return &web{http.Client{
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    connectWithin,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			MaxResponseHeaderBytes: maxAnswer,
			DisableKeepAlives:      true, // nothing is sent often enough
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (w *web) close() { w.client.CloseIdleConnections() }

// errAddress says that nothing is sent to an address.
var errAddress = errors.New("nothing is sent to this address")

// metadata are the addresses at which clouds tell a machine its secrets.
var metadata = []netip.Addr{
	netip.AddrFrom4([4]byte{169, 254, 169, 254}), netip.AddrFrom4([4]byte{169, 254, 170, 2}), netip.AddrFrom4([4]byte{100, 100, 100, 200}),
	netip.MustParseAddr("fd00:ec2::254"),
}

// checkAddress refuses what no home means. Private addresses and this machine
// are allowed: most of what a home talks to is there.
func checkAddress(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", errAddress, address)
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return fmt.Errorf("%w: %s", errAddress, ip)
	}
	for _, m := range metadata {
		if ip == m {
			return fmt.Errorf("%w: %s", errAddress, ip)
		}
	}
	return nil
}

// post sends a request and judges the answer.
func (w *web) post(ctx context.Context, method, address string, body []byte, headers map[string]string, key string) error {
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return permanent(err)
	}
	r.Header.Set("User-Agent", "Lar")
	for name, text := range headers {
		r.Header.Set(name, text)
		if strings.EqualFold(name, "Host") {
			r.Host = text
		}
	}
	r.Header.Set(KeyHeader, key)
	if len(body) > 0 && r.Header.Get("Content-Type") == "" {
		kind := "text/plain; charset=utf-8"
		if json.Valid(body) {
			kind = "application/json"
		}
		r.Header.Set("Content-Type", kind)
	}
	resp, err := w.client.Do(r)
	if err != nil {
		// A token in the address is no one's business: the cause alone.
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		if errors.Is(err, errAddress) {
			return permanent(err)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("there was no answer in time")
		}
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // only whether it was taken matters
	return judgeStatus(resp)
}

func judgeStatus(resp *http.Response) error {
	err := errors.New("the answer is " + resp.Status)
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return permanent(fmt.Errorf("the answer leads elsewhere (%s), which is not followed", resp.Status))
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusConflict, code == http.StatusTooManyRequests, code >= 500:
		if s, bad := strconv.Atoi(resp.Header.Get("Retry-After")); bad == nil && s > 0 {
			return &laterError{err, min(time.Duration(s), time.Duration(maxWaitSaid/time.Second)) * time.Second}
		}
		if at, bad := http.ParseTime(resp.Header.Get("Retry-After")); bad == nil {
			return &laterError{err, time.Until(at)}
		}
		return err
	}
	return permanent(err)
}

// request sends what a rule asks for.
func (w *web) request(ctx context.Context, h *automations.HTTPAction, key string) error {
	if d := time.Duration(h.Timeout); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	return w.post(ctx, h.Method, h.URL, []byte(h.Body), h.Headers, key)
}

// ntfy publishes as ntfy.sh has it: the topic is the end of the address, the
// body the text.
func (w *web) ntfy(ctx context.Context, c ui.Channel, n note) error {
	headers := map[string]string{"Content-Type": "text/plain; charset=utf-8", "Priority": map[string]string{
		automations.Low: "2", automations.Normal: "3", automations.High: "5"}[n.urgency]}
	if n.title != "" {
		headers["Title"] = mime.QEncoding.Encode("utf-8", n.title)
	}
	bearer(headers, c.Token)
	return w.post(ctx, http.MethodPost, c.URL, []byte(n.text), headers, n.key)
}

// webhook posts JSON.
func (w *web) webhook(ctx context.Context, c ui.Channel, n note) error {
	body, err := json.Marshal(struct {
		Title   string    `json:"title,omitempty"`
		Text    string    `json:"text"`
		Urgency string    `json:"urgency"`
		Key     string    `json:"key"`
		At      time.Time `json:"at"`
	}{n.title, n.text, n.urgency, n.key, n.at})
	if err != nil {
		return permanent(err)
	}
	headers := map[string]string{"Content-Type": "application/json"}
	bearer(headers, c.Token)
	return w.post(ctx, http.MethodPost, c.URL, body, headers, n.key)
}

func bearer(headers map[string]string, token string) {
	if token != "" {
		headers["Authorization"] = "Bearer " + token
	}
}
