package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lar.home/hub/control"
	"lar.home/hub/identity"
	"lar.home/hub/store"
	"lar.home/mqtt"
	"lar.home/ui"
)

// An Admin makes the changes that commands ask for.
type Admin interface {
	Credentials(ctx context.Context) ([]ui.Credential, error)
	AddCredential(ctx context.Context, name string) (password string, err error)
	RemoveCredential(ctx context.Context, name string) error
	AddPerson(ctx context.Context, home, name, password string, role ui.Role) error
}

// Administer lets fn make changes to the home whose data folder is dir: by
// asking the hub that runs there or, when none does, in the folder itself.
func Administer(ctx context.Context, dir string, log *slog.Logger, fn func(Admin) error) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("there is no data folder %s: start lar there first, or name the folder with --data", dir)
	}
	client, err := control.Dial(ctx, dir)
	if err == nil {
		return fn(client)
	}
	if !errors.Is(err, control.ErrNotRunning) {
		return explain(dir, err)
	}
	s, err := store.Open(store.Options{Dir: dir, Log: log})
	if _, locked := errors.AsType[*store.LockedError](err); locked {
		if err := unix.Access(dir, unix.W_OK); errors.Is(err, unix.EROFS) {
			return explain(dir, err) // its hub runs, and takes no commands
		}
		return fmt.Errorf("the Lar on data folder %s is starting or stopping: try again in a moment", dir)
	}
	if err != nil {
		return explain(dir, err)
	}
	people, err := identity.Load(identity.Config{
		Store: s, Do: (&quietHouse{store: s}).do, File: peopleFile(dir), Log: log,
	})
	if err == nil {
		if err = people.Save(ctx); err == nil || s.Unwritable() != nil {
			err = fn(offline{people}) // what only looks can be done
		}
	}
	if _, ok := errors.AsType[*store.UnwritableError](err); ok {
		err = explain(dir, err)
	}
	return errors.Join(err, s.Close(ctx))
}

// offline is the directory of a home whose hub does not run.
type offline struct{ *identity.Directory }

func (o offline) Credentials(context.Context) ([]ui.Credential, error) {
	return o.Directory.Credentials(), nil
}

// A quietHouse runs turns in which nothing but what they are for happens: no
// client is there, and no rule looks on.
type quietHouse struct {
	store *store.Store

	mu    sync.Mutex
	turns uint64
}

func (h *quietHouse) do(ctx context.Context, fn func(*mqtt.Turn) error) error {
	if err := h.store.Ready(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turns++
	t := &mqtt.Turn{Number: h.turns, Now: mqtt.Now{Wall: time.Now()}}
	if err := fn(t); err != nil {
		return err
	}
	done := make(chan struct{})
	h.store.Durable(func(number uint64) {
		if number == t.Number {
			close(done)
		}
	})
	h.store.Submit(t.Number, t.Writes(), true)
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// peopleFile is the copy of people and credentials beside the store.
func peopleFile(dir string) string { return filepath.Join(dir, "identity.json") }
