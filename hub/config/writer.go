package config

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A writer writes a Config as TOML.
type writer struct {
	dst []byte
}

func (w *writer) header(p path, list bool) {
	if len(w.dst) > 0 {
		w.dst = append(w.dst, '\n')
	}
	left, right := "[", "]\n"
	if list {
		left, right = "[[", "]]\n"
	}
	w.dst = append(w.dst, left...)
	for i, k := range p {
		if i > 0 {
			w.dst = append(w.dst, '.')
		}
		w.dst = appendKey(w.dst, k)
	}
	w.dst = append(w.dst, right...)
}

// keys writes the keys that have no unmet condition.
func (w *writer) keys(p path, keys []key) {
	for _, k := range keys {
		if k.condition == "" {
			k.value.write(w, p.key(k.name))
		}
	}
}

func (w *writer) line(p path, value []byte) {
	w.dst = appendKey(w.dst, p[len(p)-1])
	w.dst = append(w.dst, " = "...)
	w.dst = append(w.dst, value...)
	w.dst = append(w.dst, '\n')
}

func (w *writer) options(p path, o map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(o)) {
		w.line(p.key(k), appendPlain(nil, o[k]))
	}
}

func appendKey(dst []byte, k string) []byte {
	if k == "" || strings.Trim(k, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return appendString(dst, k)
	}
	return append(dst, k...)
}

// appendString writes a TOML basic string.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// appendPlain writes what node.plain returns.
func appendPlain(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return appendString(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case bool:
		return strconv.AppendBool(dst, v)
	case float64:
		// In TOML a float needs a point or an exponent.
		if v == math.Trunc(v) && math.Abs(v) < 1e15 {
			return strconv.AppendFloat(dst, v, 'f', 1, 64)
		}
		return strconv.AppendFloat(dst, v, 'g', -1, 64)
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = appendPlain(dst, e)
		}
		return append(dst, ']')
	case map[string]any:
		dst = append(dst, '{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = appendKey(dst, k)
			dst = append(dst, " = "...)
			dst = appendPlain(dst, v[k])
		}
		return append(dst, '}')
	}
	return append(dst, `""`...) // nil: Admin.Info of a Config that was not parsed
}
