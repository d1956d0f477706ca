package identity

import (
	"net/netip"
	"time"

	"lar.home/mqtt/packet"
)

// nobody stands for a credential that does not exist, so that an unknown name
// takes the time of a known one.
var nobody = credential{Salt: make([]byte, saltSize), Hash: make([]byte, 32)}

// Authenticate decides about a CONNECT by user name and password; Verifier is
// for enhanced authentication, section 4.12 of the specification. It reads an immutable
// value and is quick.
//
// Success comes with the identity that the session belongs to: that of the
// credential, or the empty one of those who came while the house is open (see
// Open). Otherwise reason is what to answer.
func (d *Directory) Authenticate(hasUsername bool, username string, password []byte, from netip.Addr) (identity string, reason packet.Reason) {
	s := d.state.Load()
	if hasUsername {
		c := s.credentials[username]
		known := c != nil
		if !known {
			c = &nobody
		}
		if c.matches(password) && known {
			c.seen.Store(time.Now().UnixMilli())
			if c.Scram == nil {
				d.complete(username, password)
			}
			return credentialIdentity(username), packet.Success
		}
		if known {
			// Also while the house is open: a mistyped password should be
			// found now, not on the day the house is closed.
			return "", packet.BadUserNameOrPassword
		}
	}
	if (d.cfg.AllowAnonymous || !s.hasOwner()) && local(from) {
		return "", packet.Success
	}
	if hasUsername {
		return "", packet.BadUserNameOrPassword
	}
	return "", packet.NotAuthorized
}

// Open tells whether clients without a credential may connect now, and why.
func (d *Directory) Open() (open bool, why string) {
	switch {
	case !d.HasOwner():
		return true, "Until this home has an owner, every client on the local network may connect without a credential."
	case d.cfg.AllowAnonymous:
		return true, "Lar was started with --allow-anonymous: every client on the local network may connect without a credential."
	}
	return false, ""
}

// local tells whether an address can only be one of this machine or of its
// own networks: loopback, RFC 1918, fc00::/7, link-local. The 100.64.0.0/10
// of RFC 6598 is shared with a provider's other customers, and is not.
func local(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()
}
