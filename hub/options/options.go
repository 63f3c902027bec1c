// Package options decodes the options of a device or filter from the config file into its
// Options struct. Its errors are written for the operator.
package options

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Decode sets the fields of the struct that into points to from o. o is a decoded TOML
// table: its values are string, bool, int64, float64, []any and map[string]any. A field's
// key is its toml tag; fields without one cannot be set by the operator. An absent key
// leaves its field unchanged. A float accepts a whole number too. A time.Duration is a
// string such as "1m30s", Bytes a whole number or a string such as "1 MiB".
//
// The error names the first key, in alphabetical order, that is unknown or has a value of
// the wrong type, and says what is allowed. Fields that were set before it keep their new
// values.
func Decode(o map[string]any, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("options: want a pointer to a struct, not %T", into))
	}
	return setStruct("", o, v.Elem())
}

// An Option describes one key that Decode accepts, for help.
type Option struct {
	Key     string // as in the config
	Type    string // number, whole number, text, true or false, duration, size, list or table
	Help    string // what it means, in a line: the field's help tag
	Default string // its default, or "required": the field's default tag
}

// List describes the keys that Decode accepts for a struct, in the order of its fields.
func List(of any) []Option {
	t := reflect.TypeOf(of)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var all []Option
	for i := range t.NumField() {
		if f := t.Field(i); key(f) != "" {
			all = append(all, Option{key(f), typeName(f.Type), f.Tag.Get("help"), f.Tag.Get("default")})
		}
	}
	return all
}

func typeName(t reflect.Type) string {
	if t == reflect.TypeFor[time.Duration]() {
		return "duration"
	}
	if t == reflect.TypeFor[Bytes]() {
		return "size"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list"
	case reflect.Map, reflect.Struct:
		return "table"
	}
	return "whole number"
}

func key(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
	if key == "-" || !f.IsExported() {
		return ""
	}
	return key
}

func setStruct(path string, o map[string]any, v reflect.Value) error {
	fields := make(map[string]reflect.Value)
	for i := range v.NumField() {
		if key := key(v.Type().Field(i)); key != "" {
			fields[key] = v.Field(i)
		}
	}
	for _, key := range sortedKeys(o) {
		field, ok := fields[key]
		if !ok {
			var keys []string
			for _, o := range List(v.Interface()) {
				keys = append(keys, o.Key)
			}
			if len(keys) == 0 {
				return fmt.Errorf("unknown key %q: none are allowed here", path+key)
			}
			return fmt.Errorf("unknown key %q: allowed are %s", path+key, strings.Join(keys, ", "))
		}
		if err := set(path+key, o[key], field); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys(o map[string]any) []string {
	keys := make([]string, 0, len(o))
	for key := range o {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func set(path string, value any, v reflect.Value) error {
	switch v.Type() {
	case reflect.TypeFor[time.Duration]():
		return setDuration(path, value, v)
	case reflect.TypeFor[Bytes]():
		return setBytes(path, value, v)
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		if err := set(path, value, p.Elem()); err != nil {
			return err
		}
		v.Set(p)
		return nil
	case reflect.String:
		if s, ok := value.(string); ok {
			v.SetString(s)
			return nil
		}
		return typeError(path, "a string", value)
	case reflect.Bool:
		if b, ok := value.(bool); ok {
			v.SetBool(b)
			return nil
		}
		return typeError(path, "true or false", value)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if i, ok := value.(int64); ok && !v.OverflowInt(i) {
			v.SetInt(i)
			return nil
		}
		return typeError(path, "a whole number", value)
	case reflect.Float32, reflect.Float64:
		return setFloat(path, value, v)
	case reflect.Slice:
		return setSlice(path, value, v)
	case reflect.Map:
		return setMap(path, value, v)
	case reflect.Struct:
		if o, ok := value.(map[string]any); ok {
			return setStruct(path+".", o, v)
		}
		return typeError(path, "a table", value)
	}
	panic(fmt.Sprintf("options: %q: a field of type %v cannot be set", path, v.Type()))
}

func setDuration(path string, value any, v reflect.Value) error {
	s, ok := value.(string)
	if !ok {
		return typeError(path, `a duration in quotes, for example "10s" or "1m30s"`, value)
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return typeError(path, `a duration, for example "10s" or "1m30s"`, value)
	}
	v.SetInt(int64(d))
	return nil
}

func setBytes(path string, value any, v reflect.Value) error {
	var text string
	switch value := value.(type) {
	case string:
		text = value
	case int64:
		text = strconv.FormatInt(value, 10)
	default:
		return typeError(path, `a size, for example 4096 or "1 MiB"`, value)
	}
	var b Bytes
	if err := b.UnmarshalText([]byte(text)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	v.SetInt(int64(b))
	return nil
}

func setFloat(path string, value any, v reflect.Value) error {
	var f float64
	switch n := value.(type) {
	case float64:
		f = n
	case int64:
		f = float64(n)
	default:
		return typeError(path, "a number", value)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return typeError(path, "a finite number", value)
	}
	v.SetFloat(f)
	return nil
}

func setSlice(path string, value any, v reflect.Value) error {
	items := reflect.ValueOf(value)
	if items.Kind() != reflect.Slice {
		return typeError(path, "a list in [ ]", value)
	}
	s := reflect.MakeSlice(v.Type(), items.Len(), items.Len())
	for i := range items.Len() {
		if err := set(fmt.Sprintf("%s[%d]", path, i), items.Index(i).Interface(), s.Index(i)); err != nil {
			return err
		}
	}
	v.Set(s)
	return nil
}

// setMap sets a map. Its keys may be any strings.
func setMap(path string, value any, v reflect.Value) error {
	o, ok := value.(map[string]any)
	if !ok {
		return typeError(path, "a table", value)
	}
	m := reflect.MakeMapWithSize(v.Type(), len(o))
	for _, key := range sortedKeys(o) {
		item := reflect.New(v.Type().Elem()).Elem()
		if err := set(path+"."+key, o[key], item); err != nil {
			return err
		}
		m.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), item)
	}
	v.Set(m)
	return nil
}

func typeError(path, want string, value any) error {
	switch value.(type) {
	case map[string]any:
		return fmt.Errorf("%s: want %s, not a table", path, want)
	case []any:
		return fmt.Errorf("%s: want %s, not a list", path, want)
	}
	return fmt.Errorf("%s: want %s, not %#v", path, want, value)
}
