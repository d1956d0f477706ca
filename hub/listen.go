package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"

	"lar.home/hub/config"
	"lar.home/hub/mdns"
	"lar.home/ui"
)

// openPort opens a TCP port, none when it is off. Its errors are for people:
// they say what to do, and name the flag to do it with.
func openPort(addr, flag string) (net.Listener, error) {
	if addr == config.Off {
		return nil, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		return nil, fmt.Errorf("%q is no address: give %s a port as in :%s, or host and port as in 192.168.1.20:%[3]s",
			addr, flag, map[string]string{"--mqtt": "1883", "--http": "8080", "--https": "8443"}[flag])
	}
	ln, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("port %s is already in use: stop the program that has it, or choose another with %s", port, flag)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("this user may not open port %s: choose one above 1023 with %s", port, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("this machine does not have the address %s: choose another with %s", host, flag)
	}
	return nil, fmt.Errorf("cannot listen on %s (%w): choose another address with %s", addr, err, flag)
}

// reach returns the addresses at which clients reach a listener, for people
// to type: every address of the home's network if it listens on all.
func reach(ln net.Listener, local string) (hosts []string, port string) {
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	port = strconv.Itoa(int(at.Port()))
	if !at.Addr().IsUnspecified() {
		return []string{at.Addr().Unmap().String()}, port
	}
	if local != "" {
		hosts = append(hosts, local)
	}
	for _, a := range lanAddrs() {
		hosts = append(hosts, a.String())
	}
	if len(hosts) == 0 {
		hosts = []string{"localhost"}
	}
	return hosts, port
}

// lanAddrs returns the machine's addresses in the home's network: those of
// IPv4, since they are shorter to type, or else those of IPv6.
func lanAddrs() []netip.Addr {
	var v4, v6 []netip.Addr
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range ifaces {
		if !mdns.Physical(i) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil || !p.Addr().IsGlobalUnicast() {
				continue
			}
			if p.Addr().Is4() {
				v4 = append(v4, p.Addr())
			} else {
				v6 = append(v6, p.Addr())
			}
		}
	}
	if len(v4) > 0 {
		return slices.Compact(v4)
	}
	return v6
}

// addresses says where the hub is reached.
func addresses(web, secure, broker net.Listener, local string) []ui.Address {
	var list []ui.Address
	for _, w := range []struct {
		ln           net.Listener
		scheme, port string
	}{{web, "http", "80"}, {secure, "https", "443"}} {
		if w.ln == nil {
			continue
		}
		hosts, port := reach(w.ln, local)
		for _, h := range hosts {
			at := net.JoinHostPort(h, port)
			if port == w.port {
				at = h
				if a, err := netip.ParseAddr(h); err == nil && a.Is6() {
					at = "[" + h + "]"
				}
			}
			list = append(list, ui.Address{Kind: "web", Text: w.scheme + "://" + at})
		}
	}
	if broker == nil {
		return list
	}
	hosts, port := reach(broker, local)
	for _, h := range hosts {
		list = append(list, ui.Address{Kind: "mqtt", Text: net.JoinHostPort(h, port)})
	}
	return list
}
