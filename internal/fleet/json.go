package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxMessage is the longest message that the broker carries, in bytes.
const MaxMessage = 1 << 20

// strays is the member of an encoded object that holds the strings JSON cannot:
// those that are not UTF-8, by the Go names that lead to them, "Alert.FullLog"
// or "Alert.Fields.3.Value". A reader that does not know of it sees U+FFFD in
// the place of each byte, and a writer that has none leaves it out.
const strays = "_bytes"

// Encode writes a struct as JSON from which Decode reads every string byte for
// byte.
func Encode(v any) (json.RawMessage, error) {
	out, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	found := map[string][]byte{}
	if err := findStrays(reflect.ValueOf(v), "", found); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	if len(found) == 0 {
		return out, nil
	}
	if len(out) < 2 || out[len(out)-1] != '}' {
		return nil, fmt.Errorf("encode %T: it is no object, and holds text that is not UTF-8", v)
	}
	more, err := json.Marshal(found)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	out = out[:len(out)-1]
	if out[len(out)-1] != '{' {
		out = append(out, ',')
	}
	out = append(out, `"`+strays+`":`...)
	return append(append(out, more...), '}'), nil
}

// Decode reads into the struct v points to what Encode wrote. What is longer
// than MaxMessage, is not one JSON object, or does not fit v is refused.
// Text that only serves people is made fit to be shown to them.
func Decode(b []byte, v any) error {
	if len(b) > MaxMessage {
		return fmt.Errorf("decode %T: %d bytes, expected at most %d: %w", v, len(b), MaxMessage, ErrTooLarge)
	}
	if b = bytes.TrimLeft(b, " \t\r\n"); len(b) == 0 || b[0] != '{' {
		return fmt.Errorf("decode %T: not a JSON object: %w", v, ErrMalformed)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode %T: %w: %w", v, ErrMalformed, err)
	}
	// Every value that has strays has the name of the member in it.
	if bytes.Contains(b, []byte(`"`+strays+`"`)) {
		if err := putStrays(b, reflect.ValueOf(v)); err != nil {
			return fmt.Errorf("decode %T: %w: %w", v, ErrMalformed, err)
		}
	}
	if t, ok := v.(tidier); ok {
		t.tidy()
	}
	return nil
}

// findStrays collects the strings below v that are not UTF-8.
func findStrays(v reflect.Value, path string, found map[string][]byte) error {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); !utf8.ValidString(s) {
			found[path] = []byte(s)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return findStrays(v.Elem(), path, found)
		}
	case reflect.Struct:
		t := v.Type()
		if t == reflect.TypeFor[time.Time]() {
			return nil
		}
		for i := range t.NumField() {
			if err := findStrays(v.Field(i), join(path, t.Field(i).Name), found); err != nil {
				return err
			}
		}
	case reflect.Slice:
		if flat(v.Type().Elem()) {
			return nil
		}
		for i := range v.Len() {
			if err := findStrays(v.Index(i), join(path, strconv.Itoa(i)), found); err != nil {
				return err
			}
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if k.Kind() == reflect.String && !utf8.ValidString(k.String()) {
				return fmt.Errorf("%s: the name %q is not UTF-8", path, k.String())
			}
		}
	}
	return nil
}

// flat reports whether values of t hold no text.
func flat(t reflect.Type) bool {
	k := t.Kind()
	return k >= reflect.Bool && k <= reflect.Complex128
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func putStrays(b []byte, v reflect.Value) error {
	var outer map[string]json.RawMessage
	if err := json.Unmarshal(b, &outer); err != nil || outer[strays] == nil {
		return err
	}
	var found map[string][]byte
	if err := json.Unmarshal(outer[strays], &found); err != nil {
		return fmt.Errorf("%s: %w", strays, err)
	}
	for path, text := range found {
		s, err := follow(v, path)
		if err != nil {
			return fmt.Errorf("%s: %q: %w", strays, path, err)
		}
		s.SetString(string(text))
	}
	return nil
}

// follow returns the string below v that path leads to.
func follow(v reflect.Value, path string) (reflect.Value, error) {
	for name := range strings.SplitSeq(path, ".") {
		for v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return v, errors.New("leads to nothing")
			}
			v = v.Elem()
		}
		switch v.Kind() {
		case reflect.Struct:
			v = v.FieldByName(name)
		case reflect.Slice:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= v.Len() {
				return v, errors.New("leads to nothing")
			}
			v = v.Index(i)
		default:
			return v, errors.New("leads to nothing")
		}
	}
	if v.Kind() != reflect.String || !v.CanSet() {
		return v, errors.New("does not lead to text")
	}
	return v, nil
}

// tidier makes the foreign text in itself fit for a line of a log or a terminal.
type tidier interface{ tidy() }

func (p *Presence) tidy() {
	for _, s := range []*string{&p.ID, &p.Name, &p.Version, &p.OS, &p.Arch, &p.Host, &p.Key} {
		*s = line(*s, 256)
	}
	// It becomes part of the location of the agent's events.
	if a, err := netip.ParseAddr(p.Address); err != nil {
		p.Address = ""
	} else {
		p.Address = a.WithZone("").String()
	}
	p.BundleError, p.Observing = line(p.BundleError, 2048), line(p.Observing, 2048)
}

func (r *JoinRequest) tidy() {
	for _, s := range []*string{&r.Token, &r.Key, &r.Host, &r.OS, &r.Version} {
		*s = line(*s, 256)
	}
}

func (r *RekeyRequest) tidy() { r.Key = line(r.Key, 256) }

// line cuts s to a length in bytes and puts a question mark in the place of
// everything that is not printable.
func line(s string, most int) string {
	if len(s) > most {
		for most > 0 && !utf8.RuneStart(s[most]) {
			most--
		}
		s = s[:most]
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
