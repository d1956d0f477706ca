package history

import (
	"encoding/binary"
	"errors"
	"math"
)

// A Point is a value that a series takes at an instant and keeps until its
// next one.
type Point struct {
	At  int64   // unix milliseconds, whole ticks
	Gap bool    // from here on nothing is known
	Num float64 // a number; 0 or 1 for off and on
	Str string  // one of several words
}

// same tells whether two points say the same, whenever they do.
func (p Point) same(q Point) bool { return p.Gap == q.Gap && p.Num == q.Num && p.Str == q.Str }

const (
	tick    = 100 // milliseconds: times are kept no finer
	hourMS  = 3_600_000
	dayMS   = 24 * hourMS
	maxText = 128 // bytes of a word; what is longer is cut

	blockFormat = 1
	// maxBlock is the longest block that is read: what a full one of words
	// that are all different and long takes.
	maxBlock = 2 * maxPoints * (maxText + 16)
)

// What the two low bits of a point's first number say follows.
const (
	opNext  = 0 // number: what is added to the mantissa; word: which of those before
	opFloat = 1 // eight bytes
	opGap   = 2 // nothing
	opFresh = 3 // number: digits after the point, mantissa; word: length, bytes
)

// A block is what one series took in one hour, as it is stored:
//
//	1, type, length of the unit, unit, points
//
// A point is the number of ticks since the one before (the first: since the
// hour began), shifted left by two, or'd with what follows. Numbers are
// decimals, a mantissa and how many digits stand after the point, because that
// is how devices say them: the next one differs little, in one or two bytes.
// What is no short decimal is stored as it is. The store keeps a sum of each
// value, so a block has none of its own.
type block struct {
	meta  *meta
	epoch uint16
	hour  int64 // since 1970
	buf   []byte
	n     int // points
	// Of the last point:
	at    int64 // ticks since the hour began
	coder coder
	texts []string
}

// newBlock begins a block.
func newBlock(m *meta, epoch uint16, hour int64) *block {
	b := &block{meta: m, epoch: epoch, hour: hour}
	b.begin()
	return b
}

func (b *block) begin() {
	b.buf = append(b.buf[:0], blockFormat, b.meta.Type, byte(len(b.meta.Unit)))
	b.buf = append(b.buf, b.meta.Unit...)
	b.n, b.at, b.coder, b.texts = 0, 0, coder{}, nil
}

// add appends a point, whose time is in the hour and not before the last.
func (b *block) add(p Point) {
	at := max((p.At-b.hour*hourMS)/tick, b.at)
	first := uint64(at-b.at) << 2
	b.at = at
	b.n++
	switch {
	case p.Gap:
		b.buf = binary.AppendUvarint(b.buf, first|opGap)
	case b.meta.Type == kindEnum:
		for i, t := range b.texts {
			if t == p.Str {
				b.buf = binary.AppendUvarint(b.buf, first|opNext)
				b.buf = binary.AppendUvarint(b.buf, uint64(i))
				return
			}
		}
		b.texts = append(b.texts, p.Str)
		b.buf = binary.AppendUvarint(b.buf, first|opFresh)
		b.buf = binary.AppendUvarint(b.buf, uint64(len(p.Str)))
		b.buf = append(b.buf, p.Str...)
	default:
		mantissa, scale, ok := b.coder.decimal(p.Num)
		switch {
		case !ok:
			b.buf = binary.AppendUvarint(b.buf, first|opFloat)
			b.buf = binary.LittleEndian.AppendUint64(b.buf, math.Float64bits(p.Num))
		case scale == b.coder.scale:
			b.buf = binary.AppendUvarint(b.buf, first|opNext)
			b.buf = binary.AppendVarint(b.buf, mantissa-b.coder.mantissa)
			b.coder.mantissa = mantissa
		default:
			b.buf = binary.AppendUvarint(b.buf, first|opFresh)
			b.buf = append(b.buf, scale)
			b.buf = binary.AppendVarint(b.buf, mantissa)
			b.coder = coder{scale, mantissa}
		}
	}
}

// A coder is the state of a run of decimals.
type coder struct {
	scale    byte // digits after the point
	mantissa int64
}

const maxScale = 9

var powers = [maxScale + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// decimal writes f as a decimal with as many digits after the point as the one
// before, or more, if that gives f again exactly.
func (c coder) decimal(f float64) (mantissa int64, scale byte, ok bool) {
	for s := c.scale; s <= maxScale; s++ {
		m := math.Round(f * powers[s])
		if math.Abs(m) > 1<<52 {
			break
		}
		if m/powers[s] == f && (m != 0 || !math.Signbit(f)) {
			return int64(m), s, true
		}
	}
	return 0, 0, false
}

var errBlock = errors.New("history block cannot be read")

// decodeBlock appends the points of a block to out. What comes before damage
// is returned with the error.
func decodeBlock(buf []byte, hour int64, out []Point) (points []Point, kind byte, unit string, err error) {
	if len(buf) < 3 || len(buf) > maxBlock || buf[0] != blockFormat || len(buf) < 3+int(buf[2]) {
		return out, 0, "", errBlock
	}
	kind, unit = buf[1], string(buf[3:3+int(buf[2])])
	if !knownKind(kind) {
		return out, 0, "", errBlock
	}
	d := decoder{buf: buf[3+int(buf[2]):]}
	var c coder
	var texts []string
	at := int64(0)
	for len(d.buf) > 0 {
		first := d.uvarint()
		if first>>2 > hourMS/tick {
			return out, kind, unit, errBlock
		}
		at += int64(first >> 2)
		if at >= hourMS/tick {
			return out, kind, unit, errBlock
		}
		p := Point{At: hour*hourMS + at*tick}
		switch op := first & 3; {
		case op == opGap:
			p.Gap = true
		case kind == kindEnum && op == opNext:
			i := d.uvarint()
			if i >= uint64(len(texts)) {
				return out, kind, unit, errBlock
			}
			p.Str = texts[i]
		case kind == kindEnum && op == opFresh:
			p.Str = d.text()
			texts = append(texts, p.Str)
		case kind == kindEnum:
			return out, kind, unit, errBlock
		case op == opFloat:
			p.Num = d.float()
		case op == opNext:
			c.mantissa += d.varint()
			p.Num = float64(c.mantissa) / powers[c.scale]
		default:
			c.scale, c.mantissa = d.byte(), d.varint()
			if c.scale > maxScale {
				return out, kind, unit, errBlock
			}
			p.Num = float64(c.mantissa) / powers[c.scale]
		}
		if d.bad {
			return out, kind, unit, errBlock
		}
		out = append(out, p)
	}
	return out, kind, unit, nil
}

// A decoder takes numbers and texts off a record; it keeps its first failure.
type decoder struct {
	buf []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.buf)
	if n <= 0 {
		d.bad, d.buf = true, nil
		return 0
	}
	d.buf = d.buf[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.buf)
	if n <= 0 {
		d.bad, d.buf = true, nil
		return 0
	}
	d.buf = d.buf[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.buf) == 0 {
		d.bad = true
		return 0
	}
	b := d.buf[0]
	d.buf = d.buf[1:]
	return b
}

// float takes a finite number.
func (d *decoder) float() float64 {
	if len(d.buf) < 8 {
		d.bad, d.buf = true, nil
		return 0
	}
	f := math.Float64frombits(binary.LittleEndian.Uint64(d.buf))
	d.buf = d.buf[8:]
	if math.IsNaN(f) || math.IsInf(f, 0) {
		d.bad = true
		return 0
	}
	return f
}

func (d *decoder) text() string {
	n := d.uvarint()
	if n > maxText || n > uint64(len(d.buf)) {
		d.bad, d.buf = true, nil
		return ""
	}
	s := string(d.buf[:n])
	d.buf = d.buf[n:]
	return s
}

// thin leaves of a block that has become too long about half its points, in
// such a way that a curve keeps its shape: of each stretch of time its first
// and last point, its lowest and its highest, and a gap.
func (b *block) thin() {
	points, _, _, err := decodeBlock(b.buf, b.hour, nil)
	if err != nil {
		return // it was just made: it cannot happen
	}
	b.begin()
	for _, p := range reduce(points, maxPoints/10) {
		b.add(p)
	}
}

// reduce keeps of each of n equal stretches of the time that the points span
// at most five points: first, lowest, highest, a gap, last.
func reduce(points []Point, n int) []Point {
	if len(points) == 0 {
		return nil
	}
	from, to := points[0].At, points[len(points)-1].At+1
	width := (to-from)/int64(n) + 1
	var out []Point
	for i := 0; i < len(points); {
		end := i
		stretch := (points[i].At - from) / width
		low, high, gap := -1, -1, -1
		for end < len(points) && (points[end].At-from)/width == stretch {
			switch {
			case points[end].Gap:
				gap = end
			case low < 0:
				low, high = end, end
			case points[end].Num < points[low].Num:
				low = end
			case points[end].Num > points[high].Num:
				high = end
			}
			end++
		}
		for j := i; j < end; j++ {
			if j == i || j == end-1 || j == low || j == high || j == gap {
				out = append(out, points[j])
			}
		}
		i = end
	}
	return out
}
