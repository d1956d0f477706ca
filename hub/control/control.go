// Package control lets the commands of lar talk to the hub that runs, over a
// socket in its data folder that only its user may open.
//
// [Serve] is the hub's side, [Dial] the command's; both speak of an [Admin].
// It is HTTP with JSON bodies, so that curl --unix-socket can be used as well.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"lar.home/ui"
)

// An Admin makes the changes that commands ask for.
type Admin interface {
	Credentials() []ui.Credential
	AddCredential(ctx context.Context, name string) (password string, err error)
	RemoveCredential(ctx context.Context, name string) error
	AddPerson(ctx context.Context, home, name, password string, role ui.Role) error
}

// Bounds on what comes in over the socket.
const (
	maxBody     = 16 << 10
	maxDuration = time.Minute
)

type credentialBody struct {
	Name     string `json:"name"`
	Password string `json:"password,omitempty"`
}

type personBody struct {
	Home     string  `json:"home,omitempty"`
	Name     string  `json:"name"`
	Password string  `json:"password"`
	Role     ui.Role `json:"role"`
}

type errorBody struct {
	Error string `json:"error"`
}

// A Server answers commands.
type Server struct {
	path string
	http *http.Server
}

// Serve opens the socket in the data folder dir and answers commands until
// Close. The caller has the folder to itself, so a socket that is there was
// left by a hub that was killed. What begins with /api/ is answered by api;
// nil: there is none.
func Serve(dir string, admin Admin, api http.Handler, log *slog.Logger) (*Server, error) {
	s := &Server{path: filepath.Join(dir, "control.sock")}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replace control socket: %w", err)
	}
	short, release, err := shortPath(s.path)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	defer release()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	ln.SetUnlinkOnClose(false) // the short path does not outlive this call
	// Until the mode is set, the folder's own keeps others out.
	if err := os.Chmod(s.path, 0o600); err != nil {
		ln.Close()
		return nil, fmt.Errorf("protect control socket: %w", err)
	}
	s.http = &http.Server{
		Handler:      handler(admin, api),
		ReadTimeout:  maxDuration,
		WriteTimeout: maxDuration,
		ErrorLog:     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go s.http.Serve(ln)
	return s, nil
}

// Close removes the socket and ends what is under way.
func (s *Server) Close() error {
	return errors.Join(os.Remove(s.path), s.http.Close())
}

func handler(admin Admin, api http.Handler) http.Handler {
	mux := http.NewServeMux()
	if api != nil {
		mux.Handle("/api/", api)
	}
	handle := func(pattern string, h func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			answer, err := h(r)
			w.Header().Set("Content-Type", "application/json")
			if err != nil {
				w.WriteHeader(http.StatusUnprocessableEntity)
				answer = errorBody{err.Error()}
			}
			json.NewEncoder(w).Encode(answer)
		})
	}
	handle("GET /credentials", func(r *http.Request) (any, error) { return admin.Credentials(), nil })
	handle("POST /credentials", func(r *http.Request) (any, error) {
		var c credentialBody
		if err := decode(r.Body, &c); err != nil {
			return nil, err
		}
		password, err := admin.AddCredential(r.Context(), c.Name)
		return credentialBody{c.Name, password}, err
	})
	handle("DELETE /credentials", func(r *http.Request) (any, error) {
		var c credentialBody
		if err := decode(r.Body, &c); err != nil {
			return nil, err
		}
		return struct{}{}, admin.RemoveCredential(r.Context(), c.Name)
	})
	handle("POST /people", func(r *http.Request) (any, error) {
		var p personBody
		if err := decode(r.Body, &p); err != nil {
			return nil, err
		}
		return struct{}{}, admin.AddPerson(r.Context(), p.Home, p.Name, p.Password, p.Role)
	})
	return mux
}

func decode(r io.Reader, v any) error {
	if err := json.NewDecoder(r).Decode(v); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	return nil
}

// shortPath returns a name of the same file that fits the address of a
// socket, 107 bytes on Linux, until release is called.
func shortPath(path string) (short string, release func(), err error) {
	if len(path) < 100 {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	short = "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + filepath.Base(path)
	return short, func() { dir.Close() }, nil
}
