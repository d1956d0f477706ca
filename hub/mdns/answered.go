package mdns

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
)

// Answered returns the machine's .local name if a responder (Avahi, systemd)
// answers for it with one of the machine's own addresses. It looks until ctx
// ends, and returns an empty name if nobody did.
func Answered(ctx context.Context) string {
	name := hostLabel() + ".local"
	ifaces, _ := usable()
	own := map[netip.Addr]bool{}
	for _, i := range ifaces {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				own[p.Addr()] = true
			}
		}
	}
	if ask(ctx, name, ifaces, own) {
		return name
	}
	return ""
}

// ask sends a one-shot query, RFC 6762 section 5.1, and tells whether it was
// answered with an address of ours.
func ask(ctx context.Context, name string, ifaces []net.Interface, own map[netip.Addr]bool) bool {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return false
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()

	question := new(dns.Msg)
	question.SetQuestion(name+".", dns.TypeA)
	question.RecursionDesired = false
	packed, err := question.Pack()
	if err != nil {
		return false
	}
	multicast := ipv4.NewPacketConn(conn)
	for _, i := range ifaces {
		multicast.WriteTo(packed, &ipv4.ControlMessage{IfIndex: i.Index}, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353})
	}
	buf := make([]byte, 9000) // RFC 6762, section 17
	for {
		n, _, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return false
		}
		var answer dns.Msg
		if answer.Unpack(buf[:n]) != nil || !answer.Response {
			continue
		}
		for _, rr := range answer.Answer {
			a, ok := rr.(*dns.A)
			if !ok || dns.CanonicalName(a.Hdr.Name) != dns.CanonicalName(name) {
				continue
			}
			if addr, ok := netip.AddrFromSlice(a.A); ok && own[addr.Unmap()] {
				return true
			}
		}
	}
}
