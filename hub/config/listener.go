package config

import (
	"fmt"
	"net/netip"

	"lar.home/hub/listen"
)

// maxListeners bounds how many listeners a hub has.
const maxListeners = 64

// listenerKey is the key of a setting of the listener with an index.
func listenerKey(i int, key string) string { return fmt.Sprintf("listener.%d.%s", i+1, key) }

// listenerSettings are those of the listener with index i.
func listenerSettings(i int) []setting {
	at := func(c *Config) *listen.Config { return &c.Listeners[i] }
	list := []setting{
		define(choice("tcp", "tls", "websocket", "secure-websocket", "unix"), "type", "", func(c *Config) *string { return (*string)(&at(c).Type) },
			"tcp, tls, websocket (at /mqtt), secure-websocket or unix."),
		define(textKind, "address", "", func(c *Config) *string { return &at(c).Address },
			"A port, or an address and a port; of a Unix socket its file."),
		define(countKind, "connections", "", func(c *Config) *int { return &at(c).Connections },
			"Connections by this listener; 0: as many as limits.connections."),
		define(textKind, "certificate", "", func(c *Config) *string { return &at(c).Certificate },
			"The certificate and those of its authorities, PEM.").aPath().reloaded(),
		define(textKind, "key", "", func(c *Config) *string { return &at(c).Key },
			"The private key, PEM.").aPath().reloaded(),
		define(choice("none", "optional", "required"), "client_certificates", "", func(c *Config) *string { return &at(c).ClientCertificates },
			"Whether clients show a certificate: none, optional or required.").reloaded(),
		define(textKind, "client_ca", "", func(c *Config) *string { return &at(c).ClientCA },
			"The authorities that clients' certificates are from, PEM.").aPath().reloaded(),
		define(textKind, "revoked", "", func(c *Config) *string { return &at(c).Revoked },
			"Lists of certificates that these authorities have revoked, PEM or DER.").aPath().reloaded(),
		define(choice("", "cn", "san"), "username_from", "", func(c *Config) *string { return &at(c).UsernameFrom },
			"The user name is the certificate's common name (cn) or its first alternative\nname (san), and no password is asked for. Empty: it is what the client says.").reloaded(),
		define(listKind, "origins", "", func(c *Config) *[]string { return &at(c).Origins },
			"Pages that may connect by WebSocket from a browser, as in \"https://panel.example\",\nbeside those of the same host. \"*\": all."),
		define(boolKind, "proxy_protocol", "", func(c *Config) *bool { return &at(c).Proxy },
			"Connections come by a proxy that says by PROXY protocol, 1 or 2, for whom."),
		define(prefixesKind, "proxy_from", "", func(c *Config) *[]netip.Prefix { return &at(c).ProxyFrom },
			"The addresses of such proxies; others are turned away."),
	}
	for n := range list {
		list[n] = list[n].of(i)
	}
	return list
}

func newListener() listen.Config {
	return listen.Config{Type: listen.TCP, ClientCertificates: "none", Origins: []string{}, ProxyFrom: []netip.Prefix{}}
}
