package hub

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"lar.home/devices"
	"lar.home/hub/config"
	"lar.home/hub/identity"
	"lar.home/hub/listen"
	"lar.home/hub/rights"
	"lar.home/mqtt"
)

// access is who may connect and what clients may do by the configuration,
// beside the people and credentials of the home. It is never changed, only
// replaced.
type access struct {
	users *rights.Passwords // nil: no password file
	acl   *rights.ACL       // nil: everything is allowed

	failedLogins int
}

func readRights(cfg config.Rights) (*access, error) {
	a := &access{failedLogins: cfg.FailedLogins}
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

func (h *Hub) authorize(who, clientID string, a mqtt.Access, topic string) bool {
	return h.rights.Load().acl.Allows(identity.User(who), clientID, a, topic)
}

func (h *Hub) listenOptions() listen.Options {
	return listen.Options{Log: h.log, MaxPacket: h.maxPacket, Within: h.connectWithin, Handshakes: h.handshakes}
}

// maxPacket bounds a frame of a WebSocket.
func (h *Hub) maxPacket() int { return h.broker.Limits().PacketSize }

// connectWithin bounds each step of a client before MQTT.
func (h *Hub) connectWithin() time.Duration { return h.broker.Limits().ConnectTimeout }

// handshakes bounds how many are before MQTT at a listener.
func (h *Hub) handshakes() int { return h.broker.Limits().Handshakes }

// webServer serves pages, and MQTT over WebSocket at /mqtt.
func (h *Hub) webServer() *http.Server {
	web := h.pages.HTTPServer()
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler)
	mux.Handle("/mqtt", listen.Handler(nil, h.maxPacket, func(nc net.Conn, _ *http.Request) {
		h.broker.ServePeer(nc, mqtt.Peer{Listener: "web"})
	}))
	web.Handler = mux
	if h.httpsLn != nil {
		web.TLSConfig = &tls.Config{
			MinVersion: tls.VersionTLS12,
			NextProtos: []string{"h2", "http/1.1"}, // said here, since one server has both doors
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return h.webCert.Load(), nil
			},
		}
	}
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
	if err := (devices.Options{Prefix: cfg.Devices.Prefix, Zigbee2MQTT: cfg.Devices.Zigbee2MQTT}).Check(); err != nil {
		errs = append(errs, err)
	}
	if _, err := placeOf(cfg.Home); err != nil {
		errs = append(errs, err)
	}
	if cfg.HTTPS.Certificate != "" || cfg.HTTPS.Key != "" {
		if _, err := readWebCertificate(cfg.HTTPS); err != nil {
			errs = append(errs, err)
		}
	}
	for i := range cfg.Listeners {
		if err := listen.CheckFiles(cfg.Listeners[i]); err != nil {
			errs = append(errs, fmt.Errorf("listener %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

// Reload puts users, rights, certificates and limits in force that have
// changed. Nobody is sent away but users who are none any more, with their
// sessions, and those who would not be let in now: whose password has changed,
// whose certificate was revoked, and who came without a user name where one is
// needed from now on. Of what cannot be read, that which held before goes on
// holding.
func (h *Hub) Reload(cfg Config) error {
	var errs []error
	next, err := readRights(cfg.Rights)
	if err != nil {
		errs = append(errs, err)
	} else {
		before := h.rights.Swap(next)
		h.broker.RightsChanged()
		gone, changed := before.compare(next)
		for _, name := range gone {
			h.log.Info("user removed", "user", name)
			h.broker.Revoke(identity.OfUser(name))
		}
		for _, name := range changed {
			h.log.Info("password changed", "user", name)
			h.broker.SendAway(identity.OfUser(name))
		}
		if before.users == nil && next.users != nil && !h.cfg.AllowAnonymous {
			h.log.Info("clients without a user name sent away")
			h.broker.SendAway("")
		}
	}
	if h.httpsLn != nil {
		if err := h.loadWebCertificate(cfg.HTTPS); err != nil {
			errs = append(errs, err)
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
	h.broker.SendAwayRevoked()
	h.setLimits(cfg.Limits, cfg.DiskPercent)
	return errors.Join(errs...)
}

// compare names the users that next does not have, and those whose password
// has changed in it.
func (a *access) compare(next *access) (gone, changed []string) {
	if a.users == nil {
		return nil, nil
	}
	for _, name := range a.users.Users() {
		switch {
		case next.users == nil || !next.users.Has(name):
			gone = append(gone, name)
		case !a.users.Same(name, next.users):
			changed = append(changed, name)
		}
	}
	return gone, changed
}
