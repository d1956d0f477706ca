package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"lar.home/hub/bench"
)

// What a furnished house has.
const (
	houseDevices = 200
	houseRules   = 100
	owner        = "Jo"
	password     = "three small words"
)

// furnished measures the memory of a hub with devices that have announced
// themselves and are connected, rules, and somebody who looks at Home.
func furnished(ctx context.Context, lar *broker) (row bench.Row, err error) {
	if err := lar.fresh(); err != nil {
		return row, err
	}
	if err := os.Chmod(lar.dir, 0o700); err != nil {
		return row, err
	}
	add := exec.CommandContext(ctx, lar.binary, "user", "add", owner, "--role", "owner", "--home", "Bench", "--data", lar.dir)
	add.Stdin = strings.NewReader(password + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		return row, fmt.Errorf("make the owner: %w: %s", err, out)
	}
	run, err := serveLar(lar, append([]string{"--allow-anonymous"}, lar.more...))
	if err != nil {
		return row, err
	}
	defer run.stop()
	leave, err := bench.Furnish(ctx, run.target, houseDevices)
	defer leave()
	if err != nil {
		return row, fmt.Errorf("announce devices: %w", err)
	}
	p, err := signIn(ctx, run.web)
	if err != nil {
		return row, err
	}
	for i := range houseRules {
		if err := p.post("/automations/new", url.Values{
			"name": {fmt.Sprintf("Rule %d", i)}, "mode": {"restart"}, "op": {"save"},
			"t.kind": {"message"}, "t.filter": {fmt.Sprintf("house/device%03d/state", i)}, "t.value": {"ON"},
			"a0.kind": {"publish"}, "a0.topic": {fmt.Sprintf("house/note/%d", i)}, "a0.payload": {"somebody is there"},
		}); err != nil {
			return row, fmt.Errorf("make rule %d: %w", i, err)
		}
	}
	close, err := p.look()
	if err != nil {
		return row, fmt.Errorf("open a page: %w", err)
	}
	defer close()
	select { // what the hash of the owner's password took goes back a second later
	case <-ctx.Done():
	case <-time.After(2 * time.Second):
	}
	row.Memory = float64(bench.Settled(ctx, run.target))
	return row, nil
}

// A person is signed in.
type person struct {
	ctx    context.Context
	base   string
	client *http.Client
}

func signIn(ctx context.Context, base string) (*person, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	p := &person{ctx, base, &http.Client{Jar: jar}}
	if err := p.post("/login", url.Values{"name": {owner}, "password": {password}}); err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	return p, nil
}

func (p *person) get(path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(p.ctx, http.MethodGet, p.base+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(r)
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %s", path, resp.Status)
	}
	return resp, err
}

func (p *person) post(path string, form url.Values) error {
	r, err := http.NewRequestWithContext(p.ctx, http.MethodPost, p.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return nil
}

var live = regexp.MustCompile(`data-scope="([^"]*)"[^>]*data-since="([^"]*)"`)

// look opens Home and follows it as a browser does, until close.
func (p *person) look() (close func(), err error) {
	resp, err := p.get("/")
	if err != nil {
		return nil, err
	}
	page, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	m := live.FindSubmatch(page)
	if m == nil || !bytes.Contains(page, []byte("Device 199")) {
		return nil, errors.New("the page does not show the house")
	}
	q := url.Values{"scope": {string(m[1])}, "since": {string(m[2])}}
	if resp, err = p.get("/live?" + q.Encode()); err != nil {
		return nil, err
	}
	go io.Copy(io.Discard, resp.Body)
	return func() { resp.Body.Close() }, nil
}
