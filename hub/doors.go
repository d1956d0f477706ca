package hub

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"lar.home/hub/config"
	"lar.home/hub/identity"
	"lar.home/hub/listen"
	"lar.home/hub/rights"
	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// access is who may connect and what clients may do by the configuration,
// beside the people and credentials of the home. It is never changed, only
// replaced.
type access struct {
	users *rights.Passwords // nil: no password file
	acl   *rights.ACL       // nil: everything is allowed
}

func readRights(cfg config.Rights) (*access, error) {
	a := &access{}
	var err error
	if cfg.PasswordFile != "" {
		if a.users, err = rights.ReadPasswords(cfg.PasswordFile); err != nil {
			return nil, fmt.Errorf("password file: %w", err)
		}
	}
	if a.acl, err = rights.ParseACL(cfg.ACL, cfg.ACLFile, cfg.SubscribeRights); err != nil {
		return nil, fmt.Errorf("rights: %w", err)
	}
	return a, nil
}

// authenticate tells who a client is: by its certificate, by the password
// file, or else by the credentials of the home.
func (h *Hub) authenticate(l mqtt.Login) (string, packet.Reason) {
	if l.Peer.Username != "" {
		return identity.OfUser(l.Peer.Username), packet.Success
	}
	users := h.rights.Load().users
	if users != nil && l.HasUsername {
		if users.Verify(l.Username, l.Password) {
			return identity.OfUser(l.Username), packet.Success
		}
		if users.Has(l.Username) {
			return "", packet.BadUserNameOrPassword
		}
	}
	from := l.Remote.Addr()
	if l.Peer.Local {
		from = loopback
	}
	who, reason := h.people.Authenticate(l.HasUsername, l.Username, l.Password, from)
	if users != nil && who == "" && reason == packet.Success && !h.cfg.AllowAnonymous {
		if l.HasUsername {
			return "", packet.BadUserNameOrPassword
		}
		return "", packet.NotAuthorized
	}
	return who, reason
}

func (h *Hub) authorize(who, clientID string, a mqtt.Access, topic string) bool {
	return h.rights.Load().acl.Allows(identity.User(who), clientID, a, topic)
}

func (h *Hub) listenOptions() listen.Options {
	return listen.Options{Log: h.log, MaxPacket: h.maxPacket}
}

// maxPacket bounds a frame of a WebSocket.
func (h *Hub) maxPacket() int { return h.broker.Limits().PacketSize }

// webServer serves pages, and MQTT over WebSocket at /mqtt.
func (h *Hub) webServer() *http.Server {
	web := h.pages.HTTPServer()
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler)
	mux.Handle("/mqtt", listen.Handler(nil, h.maxPacket, func(nc net.Conn, _ *http.Request) {
		h.broker.ServePeer(nc, mqtt.Peer{Listener: "web"})
	}))
	web.Handler = mux
	return web
}

func (h *Hub) closeListeners() {
	if h.mqttLn != nil {
		h.mqttLn.Close()
	}
	for _, l := range h.listeners {
		l.Close()
	}
}

// Listeners names those of the configuration and where they listen, as in
// "tls [::]:8883".
func (h *Hub) Listeners() (list []string) {
	for _, l := range h.listeners {
		list = append(list, string(l.Type())+" "+l.Addr().String())
	}
	return list
}

// Check reads what a configuration names, without opening a port or the data
// folder: rights and certificates.
func Check(cfg Config) error {
	_, err := readRights(cfg.Rights)
	errs := []error{err}
	if _, err := placeOf(cfg.Home); err != nil {
		errs = append(errs, err)
	}
	for i := range cfg.Listeners {
		if err := listen.CheckFiles(cfg.Listeners[i]); err != nil {
			errs = append(errs, fmt.Errorf("listener %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

// Reload puts users, rights, certificates and limits in force that have
// changed. Nobody is sent away but users who are none any more. Of what cannot
// be read, that which held before goes on holding.
func (h *Hub) Reload(cfg Config) error {
	var errs []error
	next, err := readRights(cfg.Rights)
	if err != nil {
		errs = append(errs, err)
	} else {
		before := h.rights.Swap(next)
		h.broker.RightsChanged()
		for _, name := range before.gone(next) {
			h.log.Info("user removed", "user", name)
			h.broker.Revoke(identity.OfUser(name))
		}
		if before.users == nil && next.users != nil {
			h.log.Warn("clients that came without a user name stay until they connect again")
		}
	}
	for i, l := range h.listeners {
		if i >= len(cfg.Listeners) {
			break
		}
		if err := l.Reload(cfg.Listeners[i]); err != nil {
			errs = append(errs, fmt.Errorf("listener %d: %w", i+1, err))
		}
	}
	h.broker.SetLimits(cfg.Limits)
	return errors.Join(errs...)
}

// gone names the users that next does not have.
func (a *access) gone(next *access) (names []string) {
	if a.users == nil {
		return nil
	}
	for _, name := range a.users.Users() {
		if next.users == nil || !next.users.Has(name) {
			names = append(names, name)
		}
	}
	return names
}
