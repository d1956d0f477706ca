package hub

import (
	"net"
	"reflect"
	"strings"
	"testing"

	"lar.home/ui"
)

func TestAddresses(t *testing.T) {
	at := func(ip string, port int) net.Listener {
		return &listener{addr: net.TCPAddr{IP: net.ParseIP(ip), Port: port}}
	}
	got := addresses(at("192.168.1.20", 8080), nil, at("::ffff:192.168.1.20", 1883), "pi.local")
	want := []ui.Address{{Kind: "web", Text: "http://192.168.1.20:8080"}, {Kind: "mqtt", Text: "192.168.1.20:1883"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("addresses = %v, want %v", got, want)
	}
	got = addresses(at("fd00::1", 80), nil, at("fd00::1", 1883), "")
	want = []ui.Address{{Kind: "web", Text: "http://[fd00::1]"}, {Kind: "mqtt", Text: "[fd00::1]:1883"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("addresses = %v, want %v", got, want)
	}
	got = addresses(nil, at("192.168.1.20", 443), nil, "")
	if want = []ui.Address{{Kind: "web", Text: "https://192.168.1.20"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("addresses = %v, want %v", got, want)
	}
	all := addresses(at("::", 80), nil, at("0.0.0.0", 1883), "pi.local")
	if len(all) < 2 || all[0].Text != "http://pi.local" {
		t.Errorf("addresses = %v, want pi.local first", all)
	}
	for _, a := range addresses(at("::", 8080), nil, at("::", 1883), "") {
		for _, bad := range []string{"::]", "0.0.0.0", "127.", "fe80:"} {
			if strings.Contains(a.Text, bad) {
				t.Errorf("%v is no address for others", a)
			}
		}
	}
}

// A listener has an address and nothing else.
type listener struct {
	net.Listener
	addr net.TCPAddr
}

func (l *listener) Addr() net.Addr { return &l.addr }
