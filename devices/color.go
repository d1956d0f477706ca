package devices

import (
	"fmt"
	"math"
	"strconv"
)

// An rgb is a color at full brightness, as the model keeps it: "#rrggbb".
type rgb struct{ r, g, b uint8 }

func (c rgb) String() string { return fmt.Sprintf("#%02x%02x%02x", c.r, c.g, c.b) }

func parseRGB(s string) (c rgb, ok bool) {
	if len(s) != 7 || s[0] != '#' {
		return c, false
	}
	n, err := strconv.ParseUint(s[1:], 16, 32)
	return rgb{uint8(n >> 16), uint8(n >> 8), uint8(n)}, err == nil
}

func byteOf(f float64) uint8 { return uint8(math.Round(255 * min(max(f, 0), 1))) }

// fromRGB takes channels of 0 to 255.
func fromRGB(r, g, b float64) rgb { return rgb{byteOf(r / 255), byteOf(g / 255), byteOf(b / 255)} }

// fromXY converts CIE 1931 coordinates (Philips' wide gamut, as Home
// Assistant does it, so that both show the same color).
func fromXY(x, y float64) rgb {
	if y <= 0 {
		y = 1e-11
	}
	X, Z := x/y, (1-x-y)/y
	c := [3]float64{
		X*1.656492 - 0.354851 - Z*0.255038,
		-X*0.707196 + 1.655397 + Z*0.036152,
		X*0.051713 - 0.121364 + Z*1.011530,
	}
	top := 1.0
	for i, v := range c {
		if v <= 0.0031308 {
			v *= 12.92
		} else {
			v = 1.055*math.Pow(v, 1/2.4) - 0.055
		}
		c[i] = max(v, 0)
		top = max(top, c[i])
	}
	return rgb{byteOf(c[0] / top), byteOf(c[1] / top), byteOf(c[2] / top)}
}

func (c rgb) xy() (x, y float64) {
	linear := func(v uint8) float64 {
		f := float64(v) / 255
		if f > 0.04045 {
			return math.Pow((f+0.055)/1.055, 2.4)
		}
		return f / 12.92
	}
	r, g, b := linear(c.r), linear(c.g), linear(c.b)
	X := r*0.664511 + g*0.154324 + b*0.162028
	Y := r*0.283881 + g*0.668433 + b*0.047685
	Z := r*0.000088 + g*0.072310 + b*0.986039
	sum := X + Y + Z
	if sum == 0 {
		return 0.3127, 0.329 // black has no color: white
	}
	return round(X/sum, 3), round(Y/sum, 3)
}

// fromHS converts hue in degrees and saturation in percent.
func fromHS(h, s float64) rgb {
	h = math.Mod(math.Mod(h, 360)+360, 360) / 60
	s = min(max(s/100, 0), 1)
	f := func(n float64) uint8 {
		k := math.Mod(n+h, 6)
		return byteOf(1 - s*max(0, min(k, 4-k, 1)))
	}
	return rgb{f(5), f(3), f(1)}
}

func (c rgb) hs() (h, s float64) {
	r, g, b := float64(c.r), float64(c.g), float64(c.b)
	high, low := max(r, g, b), min(r, g, b)
	if high == low {
		return 0, 0
	}
	d := high - low
	switch high {
	case r:
		h = math.Mod((g-b)/d+6, 6)
	case g:
		h = (b-r)/d + 2
	default:
		h = (r-g)/d + 4
	}
	return round(h*60, 3), round(d/high*100, 3)
}

func round(f float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(f*p) / p
}

// kelvin converts between mired and kelvin, both ways.
func kelvin(mired float64) float64 {
	if mired <= 0 {
		return 0
	}
	return math.Round(1e6 / mired)
}
