package hub

import (
	"context"
	"errors"
	"sync"
	"time"

	"lar.home/devices"
	"lar.home/hub/identity"
	"lar.home/mqtt"
	"lar.home/mqtt/packet"
	"lar.home/ui"
)

const (
	// maxLogins is of how many clients it is remembered who they came as.
	maxLogins = 20_000
	// forgetWithin bounds one try to end what a forgotten device had.
	forgetWithin = 20 * time.Second
)

// logins remembers as whom clients came last, so that the credential of a
// device can be found when the device is forgotten. The zero logins is empty.
type logins struct {
	mu       sync.Mutex
	byClient map[string]string // guarded by mu
}

func (l *logins) note(clientID, who string) {
	if clientID == "" || who == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byClient == nil {
		l.byClient = map[string]string{}
	}
	if _, known := l.byClient[clientID]; !known && len(l.byClient) >= maxLogins {
		for any := range l.byClient {
			delete(l.byClient, any)
			break
		}
	}
	l.byClient[clientID] = who
}

func (l *logins) of(clientID string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byClient[clientID]
}

// logIn is authenticate, and remembers who came.
func (h *Hub) logIn(l mqtt.Login) (string, packet.Reason) {
	who, reason := h.authenticate(l)
	if reason == packet.Success {
		h.logins.note(l.ClientID, who)
	}
	return who, reason
}

// forgotten ends what is left of a device that was forgotten: its session, and
// its credential if no other client uses it. It is told again until done was
// called, also after a restart.
func (h *Hub) forgotten(t *mqtt.Turn, f devices.Forgotten, done func(*mqtt.Turn)) {
	t.Later(func() {
		ctx, cancel := context.WithTimeout(context.Background(), forgetWithin)
		defer cancel()
		if f.Client != "" {
			h.broker.Forget(f.Client)
			if name := identity.User(f.Identity); name != "" && !h.shared(f.Identity, f.Client) {
				if err := h.people.RemoveCredential(ctx, name); err != nil && !errors.Is(err, ui.ErrNoCredential) {
					h.log.Warn("credential of a forgotten device not removed, it is tried again", "err", err)
					return
				}
			}
		}
		err := h.doDurable(ctx, func(t *mqtt.Turn) error {
			if err := t.Whole(); err != nil {
				return err
			}
			done(t)
			return nil
		})
		if err != nil {
			h.log.Warn("forgotten device not done with, it is tried again", "err", err)
		}
	})
}

// shared tells whether another client than this one has a session as who.
func (h *Hub) shared(who, clientID string) bool {
	for after := ""; ; {
		list := h.broker.Sessions(after, 0)
		for _, s := range list {
			if s.Identity == who && s.ClientID != clientID {
				return true
			}
		}
		if len(list) == 0 {
			return false
		}
		after = list[len(list)-1].ClientID
	}
}
