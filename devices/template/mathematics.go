package template

import (
	"math"
	"slices"
)

// constants are names that stand for a number unless the template or its input
// has them.
var constants = map[string]float64{"pi": math.Pi, "tau": 2 * math.Pi, "e": math.E}

// measure is a function of one number; its default is for what is none, or is
// beyond what the function takes.
func measure(name string, fn func(f float64) float64) function {
	return func(_ *env, a []Value, named *box) (Value, error) {
		if a[0].kind == Undefined {
			return a[0], errUndefined
		}
		if f, ok := toFloat(a[0]); ok {
			if r := fn(f); !math.IsNaN(r) && !math.IsInf(r, 0) {
				return FromFloat(r), nil
			}
		}
		return orDefault(a, named, 1, name)
	}
}

func logarithm(_ *env, a []Value, named *box) (Value, error) {
	base, ok := math.E, true
	if v := param(a, named, 1, "base"); v.kind != Undefined {
		base, ok = toFloat(v)
	}
	if a[0].kind == Undefined {
		return a[0], errUndefined
	}
	if f, number := toFloat(a[0]); number && ok && f > 0 && base > 0 && base != 1 {
		return FromFloat(math.Log(f) / math.Log(base)), nil // as Python has it, for each base
	}
	return orDefault(a, named, 2, "log")
}

// numbersOf reads the numbers of a call, which has n of them.
func numbersOf(a []Value, named *box, names ...string) ([]float64, error) {
	out := make([]float64, len(names))
	for i, name := range names {
		f, ok := toFloat(param(a, named, i, name))
		if !ok || math.IsNaN(f) {
			return nil, errArguments
		}
		out[i] = f
	}
	return out, nil
}

func clamp(_ *env, a []Value, named *box) (Value, error) {
	f, err := numbersOf(a, named, "value", "min_value", "max_value")
	if err != nil {
		return a[0], err
	}
	return FromFloat(max(f[1], min(f[2], f[0]))), nil
}

// wrap brings a number into a range that begins again where it ends.
func wrap(_ *env, a []Value, named *box) (Value, error) {
	f, err := numbersOf(a, named, "value", "min_value", "max_value")
	if err != nil {
		return a[0], err
	}
	size := f[2] - f[1]
	if size == 0 {
		return FromFloat(f[1]), nil
	}
	r := math.Mod(f[0]-f[1], size)
	if r != 0 && (r < 0) != (size < 0) {
		r += size
	}
	return FromFloat(r + f[1]), nil
}

// remap brings a number from one range into another.
func remap(_ *env, a []Value, named *box) (Value, error) {
	f, err := numbersOf(a, named, "value", "in_min", "in_max", "out_min", "out_max")
	if err != nil {
		return a[0], err
	}
	steps, err := intParam(nil, named, 0, "steps", 0)
	if err != nil || steps < 0 {
		return a[0], errArguments
	}
	from, to := f[1], f[2]
	if from == to {
		return a[0], errZero
	}
	part := (f[0] - from) / (to - from)
	switch edges := param(nil, named, 0, "edges").text; edges {
	case "", "none":
	case "clamp":
		part = max(0, min(1, part))
	default:
		return a[0], errArguments
	}
	if steps > 0 {
		part = math.RoundToEven(part*float64(steps)) / float64(steps)
	}
	return FromFloat(f[3] + part*(f[4]-f[3])), nil
}

// spread is the numbers of a call: those of a list, or the arguments.
func spread(e *env, a []Value) ([]Value, error) {
	if len(a) > 0 && (a[0].kind == List || a[0].kind == Tuple) {
		return a[0].box.items, nil
	}
	return a, nil
}

func average(e *env, a []Value, named *box) (Value, error) {
	items, err := spread(e, a)
	if err != nil {
		return Value{}, err
	}
	sum := 0.0
	for _, v := range items {
		if err := e.charge(1); err != nil {
			return v, err
		}
		if !isNumber(v) {
			return orDefault(a, named, 1, "average")
		}
		sum += v.float()
	}
	if len(items) == 0 {
		return orDefault(a, named, 1, "average")
	}
	return FromFloat(sum / float64(len(items))), nil
}

func median(e *env, a []Value, named *box) (Value, error) {
	items, err := spread(e, a)
	if err != nil {
		return Value{}, err
	}
	sorted := slices.Clone(items)
	for _, v := range sorted {
		if err := e.charge(1); err != nil {
			return v, err
		}
		if !isNumber(v) {
			return orDefault(a, named, 1, "median")
		}
	}
	if len(sorted) == 0 {
		return orDefault(a, named, 1, "median")
	}
	slices.SortStableFunc(sorted, func(x, y Value) int {
		switch {
		case x.float() < y.float():
			return -1
		case x.float() > y.float():
			return 1
		}
		return 0
	})
	if n := len(sorted) / 2; len(sorted)%2 == 1 {
		return sorted[n], nil
	} else {
		return FromFloat((sorted[n-1].float() + sorted[n].float()) / 2), nil
	}
}

func init() {
	for name, fn := range map[string]function{
		"log": needs(1, logarithm), "clamp": needs(1, clamp), "wrap": needs(1, wrap), "remap": needs(1, remap),
		"average": needs(1, average), "median": needs(1, median),
		"sin": needs(1, measure("sin", math.Sin)), "cos": needs(1, measure("cos", math.Cos)), "tan": needs(1, measure("tan", math.Tan)),
		"asin": needs(1, measure("asin", math.Asin)), "acos": needs(1, measure("acos", math.Acos)), "atan": needs(1, measure("atan", math.Atan)),
		"sqrt": needs(1, measure("sqrt", math.Sqrt)), "bitwise_and": needs(2, filters["bitwise_and"]),
		"bitwise_or": needs(2, filters["bitwise_or"]), "bitwise_xor": needs(2, filters["bitwise_xor"]),
	} {
		functions[name], filters[name] = fn, fn
	}
}
