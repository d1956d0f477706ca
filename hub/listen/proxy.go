package listen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"lar.home/mqtt"
)

// The header of the PROXY protocol, as HAProxy's proxy-protocol.txt has it.
const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	maxProxyLine   = 107     // bytes of a header of version 1, CR LF included
	maxProxyBody   = 4 << 10 // bytes of a header of version 2 behind its length
)

// readProxy reads the header and nothing behind it.
func (l *Listener) readProxy(nc net.Conn, peer *mqtt.Peer) error {
	if l.cfg.Type != Unix {
		from, err := netip.ParseAddrPort(nc.RemoteAddr().String())
		if err != nil || !trusted(l.cfg.ProxyFrom, from.Addr()) {
			return errors.New("not one of the proxies that may connect here")
		}
	}
	nc.SetReadDeadline(time.Now().Add(min(l.opts.within(), proxyWithin)))
	client, err := readProxyHeader(nc)
	if err != nil {
		return fmt.Errorf("PROXY header: %w", err)
	}
	nc.SetReadDeadline(time.Time{})
	if client.IsValid() {
		peer.Remote, peer.Local = client.String(), false
	}
	return nil
}

func trusted(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a.Unmap()) || p.Contains(a) {
			return true
		}
	}
	return false
}

// readProxyHeader returns the address of the client; none where the proxy
// calls for itself or says that it does not know.
func readProxyHeader(r io.Reader) (client netip.AddrPort, err error) {
	var head [16]byte
	if _, err := io.ReadFull(r, head[:8]); err != nil {
		return client, err
	}
	if string(head[:6]) == "PROXY " {
		return readProxyLine(r, head[:8])
	}
	if _, err := io.ReadFull(r, head[8:]); err != nil {
		return client, err
	}
	if string(head[:12]) != proxySignature {
		return client, errors.New("there is none")
	}
	size := int(binary.BigEndian.Uint16(head[14:]))
	if size > maxProxyBody {
		return client, fmt.Errorf("%d bytes are too many", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return client, err
	}
	switch head[12] {
	case 0x20: // LOCAL: the proxy itself, to see whether we live
		return client, nil
	case 0x21: // PROXY
	default:
		return client, fmt.Errorf("version and command 0x%02x", head[12])
	}
	switch family := head[13]; family {
	case 0x11: // TCP over IPv4: addresses, then ports; what follows are extensions
		if size < 12 {
			return client, errors.New("cut short")
		}
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(body[:4])), binary.BigEndian.Uint16(body[8:])), nil
	case 0x21: // TCP over IPv6
		if size < 36 {
			return client, errors.New("cut short")
		}
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(body[:16])).Unmap(), binary.BigEndian.Uint16(body[32:])), nil
	case 0x00, 0x31: // unknown, Unix
		return client, nil
	default:
		return client, fmt.Errorf("address family 0x%02x", family)
	}
}

// readProxyLine reads the rest of a header of version 1, byte by byte: what
// follows belongs to MQTT.
func readProxyLine(r io.Reader, line []byte) (client netip.AddrPort, err error) {
	var b [1]byte
	for !strings.HasSuffix(string(line), "\r\n") {
		if len(line) >= maxProxyLine {
			return client, errors.New("the line is too long")
		}
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return client, err
		}
		line = append(line, b[0])
	}
	f := strings.Split(strings.TrimSuffix(string(line), "\r\n"), " ")
	if f[1] == "UNKNOWN" {
		return client, nil
	}
	if len(f) != 6 || f[1] != "TCP4" && f[1] != "TCP6" {
		return client, fmt.Errorf("%q", line)
	}
	source, err := netip.ParseAddr(f[2])
	_, wrong := netip.ParseAddr(f[3])
	port, bad := strconv.ParseUint(f[4], 10, 16)
	_, bad2 := strconv.ParseUint(f[5], 10, 16)
	if err := errors.Join(err, wrong, bad, bad2); err != nil {
		return client, err
	}
	if source.Is4() != (f[1] == "TCP4") || source.Zone() != "" {
		return client, fmt.Errorf("%q", line)
	}
	return netip.AddrPortFrom(source, uint16(port)), nil
}
