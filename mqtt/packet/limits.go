package packet

// Bounds of ours, tighter than the standard's. Those of topic names and
// filters are topic.MaxLength and topic.MaxSeparators.
const (
	// MaxSize is the size of the largest packet the format can express, the
	// fixed header included, section 2.1.4.
	MaxSize = 1 + 4 + maxVarint
	// MaxClientID and MaxUsername bound what names a client, in bytes. A
	// longer one is refused with ClientIDNotValid, BadUserNameOrPassword.
	MaxClientID = 256
	MaxUsername = 256
	// MaxUserProperties and MaxUserPropertyBytes bound the user properties of
	// one packet, a will's included; the bytes are those of names and values.
	// More are refused with QuotaExceeded.
	MaxUserProperties    = 64
	MaxUserPropertyBytes = 8 << 10
	// MaxFilters bounds the filters of one SUBSCRIBE or UNSUBSCRIBE. More are
	// refused with QuotaExceeded.
	MaxFilters = 10_000
)

// maxVarint is the largest variable byte integer, section 1.5.5.
const maxVarint = 268_435_455
