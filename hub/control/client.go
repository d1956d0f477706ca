package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"syscall"

	"lar.home/ui"
)

// ErrNotRunning says that no hub runs on a data folder.
var ErrNotRunning = errors.New("no hub is running there")

// maxAnswer bounds what a hub may answer: 10,000 credentials are about 1 MB.
const maxAnswer = 16 << 20

// A Client asks a hub that runs.
type Client struct {
	http http.Client
}

// Dial returns a client of the hub that runs on the data folder dir, or
// ErrNotRunning.
func Dial(ctx context.Context, dir string) (*Client, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		short, release, err := shortPath(filepath.Join(dir, "control.sock"))
		if err != nil {
			return nil, err
		}
		defer release()
		return new(net.Dialer).DialContext(ctx, "unix", short)
	}
	conn, err := dial(ctx, "", "")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("talk to the hub: %w", err)
	}
	conn.Close()
	return &Client{http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}, nil
}

// Credentials returns the credentials by name.
func (c *Client) Credentials(ctx context.Context) (list []ui.Credential, err error) {
	err = c.do(ctx, http.MethodGet, "/credentials", nil, &list)
	return list, err
}

// AddCredential makes a credential and returns its password.
func (c *Client) AddCredential(ctx context.Context, name string) (password string, err error) {
	answer := credentialBody{}
	err = c.do(ctx, http.MethodPost, "/credentials", credentialBody{Name: name}, &answer)
	return answer.Password, err
}

// RemoveCredential ends a credential.
func (c *Client) RemoveCredential(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, "/credentials", credentialBody{Name: name}, nil)
}

// AddPerson makes an account.
func (c *Client) AddPerson(ctx context.Context, home, name, password string, role ui.Role) error {
	return c.do(ctx, http.MethodPost, "/people", personBody{home, name, password, role}, nil)
}

// API asks the API of the hub, and returns its answer: bodies are as they are.
func (c *Client) API(ctx context.Context, method, path string, header http.Header, body []byte) (status int, answer []byte, headers http.Header, err error) {
	ctx, cancel := context.WithTimeout(ctx, maxDuration)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://lar"+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("talk to the hub: %w", err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("talk to the hub: %w", err)
	}
	return resp.StatusCode, answer, resp.Header, nil
}

func (c *Client) do(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, maxDuration)
	defer cancel()
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://lar"+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("talk to the hub: %w", err)
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("talk to the hub: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var e errorBody
		if json.Unmarshal(b, &e) != nil || e.Error == "" {
			return fmt.Errorf("the hub answers %s", resp.Status)
		}
		return errors.New(e.Error)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(b, answer)
}
