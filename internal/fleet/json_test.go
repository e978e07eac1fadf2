package fleet

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"riposte"
)

// fill gives every field below v a value of its own, and every string one that
// no UTF-8 text is.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString("\xff<&\u2028\x00" + strings.Repeat("x", *n%7) + string(rune('a'+*n%26)) + "\xc3")
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint, reflect.Uint64:
		v.SetUint(math.MaxUint64 - uint64(*n))
	case reflect.Uint8:
		v.SetUint(uint64(*n % 2))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		elem := reflect.New(v.Type().Elem()).Elem()
		fill(elem, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("command <ä>"), elem)
	case reflect.Struct:
		if t, ok := v.Addr().Interface().(*time.Time); ok {
			*t = time.Date(2026, 3, 1, 12, 0, *n%60, *n, time.FixedZone("", 3600*(*n%12)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		panic("no value for " + v.Type().String())
	}
}

// TestEveryFieldTravels holds for fields that are added later, too.
func TestEveryFieldTravels(t *testing.T) {
	outcome := riposte.Outcome(0)
	for _, v := range []any{
		&riposte.Order{}, &Undo{}, &Bundle{}, &Rotate{}, &Signed{}, &SyncRequest{}, &SyncReply{}, &RekeyReply{}, &JoinReply{},
		&riposte.Receipt{Outcome: outcome},
	} {
		t.Run(reflect.TypeOf(v).String(), func(t *testing.T) {
			n := 0
			fill(reflect.ValueOf(v).Elem(), &n)
			if r, ok := v.(*riposte.Receipt); ok {
				r.Outcome = riposte.Undone
			}
			b, err := Encode(v)
			if err != nil {
				t.Fatal(err)
			}
			if !utf8.Valid(b) {
				t.Error("what is sent is not UTF-8")
			}
			got := reflect.New(reflect.TypeOf(v).Elem()).Interface()
			if err := Decode(b, got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(v, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestEmptyValuesTravel(t *testing.T) {
	for _, v := range []any{
		&riposte.Order{}, &riposte.Order{Alert: &riposte.Alert{}}, &Undo{}, &Bundle{}, &Presence{}, &SyncReply{}, &JoinReply{},
	} {
		b, err := Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		if err := Decode(b, got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(v, got); d != "" {
			t.Errorf("%T (-want +got):\n%s", v, d)
		}
	}
	b, err := Encode(riposte.Order{})
	if err != nil || bytes.Contains(b, []byte(strays)) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		in   string
		want error
	}{
		{"", ErrMalformed},
		{" ", ErrMalformed},
		{"null", ErrMalformed},
		{"[]", ErrMalformed},
		{`"x"`, ErrMalformed},
		{"{", ErrMalformed},
		{"{} {}", ErrMalformed},
		{`{"id":7}`, ErrMalformed},
		{`{"target":{"kind":"planet"}}`, ErrMalformed},
		{`{"_bytes":7}`, ErrMalformed},
		{`{"_bytes":{"ID":"not base64!"}}`, ErrMalformed},
		{`{"_bytes":{"":"AA=="}}`, ErrMalformed},
		{`{"_bytes":{"Nothing":"AA=="}}`, ErrMalformed},
		{`{"_bytes":{"Alert.FullLog":"AA=="}}`, ErrMalformed},                  // there is no alert
		{`{"alert":{},"_bytes":{"Alert.Fields.0.Name":"AA=="}}`, ErrMalformed}, // nor a field
		{`{"alert":{},"_bytes":{"Alert.Fields.-1.Name":"AA=="}}`, ErrMalformed},
		{`{"_bytes":{"Timeout":"AA=="}}`, ErrMalformed},
		{`{"_bytes":{"ID.x":"AA=="}}`, ErrMalformed},
		{`{"_bytes":{"Issued.loc.name":"AA=="}}`, ErrMalformed},
		{`{"by":"` + strings.Repeat("x", MaxMessage) + `"}`, ErrTooLarge},
	} {
		var o riposte.Order
		if err := Decode([]byte(c.in), &o); !errors.Is(err, c.want) {
			t.Errorf("%.60s: %v, want %v", c.in, err, c.want)
		}
	}
	// What a newer riposte says beside is passed over.
	var q SyncRequest
	if err := Decode([]byte(`{"after":7,"new":"\ud800"}`), &q); err != nil || q.After != 7 {
		t.Errorf("%+v, %v", q, err)
	}
}

func TestNamesMustBeText(t *testing.T) {
	if _, err := Encode(Bundle{Limits: map[string]Limit{"a\xff": {}}}); err == nil || !strings.Contains(err.Error(), "Limits") {
		t.Errorf("encoded: %v", err)
	}
}

func TestForeignWordsFitOnALine(t *testing.T) {
	b, err := Encode(Presence{
		ID: "001", Name: "web\n2026 forged", Host: strings.Repeat("ä", 200), Version: "\xff\x1b[31m", BundleError: "line 3\r\nof it", Observing: "\u202eok",
	})
	if err != nil {
		t.Fatal(err)
	}
	var p Presence
	if err := Decode(b, &p); err != nil {
		t.Fatal(err)
	}
	want := Presence{ID: "001", Name: "web?2026 forged", Host: strings.Repeat("ä", 128), Version: "??[31m", BundleError: "line 3??of it", Observing: "?ok"}
	if d := cmp.Diff(want, p); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "2001:DB8:0::1": "2001:db8::1", "": "", "any": "", "192.0.2.1->/var/log/auth.log": "",
		"192.0.2.1\n": "", "fe80::1%eth0\n2026 forged": "fe80::1", strings.Repeat("1", 1<<16): "",
	} {
		b, err := Encode(Presence{Address: in})
		if err != nil {
			t.Fatal(err)
		}
		if err := Decode(b, &p); err != nil || p.Address != want {
			t.Errorf("the address %.40q is taken as %q, %v; expected %q", in, p.Address, err, want)
		}
	}
	var j JoinRequest
	if err := Decode([]byte(`{"host":"a\u0000b","key":"UA\n"}`), &j); err != nil || j.Host != "a?b" || j.Key != "UA?" {
		t.Errorf("%+v, %v", j, err)
	}
	var k RekeyRequest
	if err := Decode([]byte(`{"key":"UA\n"}`), &k); err != nil || k.Key != "UA?" {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestSubjects(t *testing.T) {
	for got, want := range map[string]string{
		EventSubject("001"):    "riposte.event.001",
		ReceiptSubject("001"):  "riposte.receipt.001",
		PresenceSubject("001"): "riposte.presence.001",
		SyncSubject("*"):       "riposte.sync.*",
		RekeySubject("001"):    "riposte.rekey.001",
		OrderSubject(All):      "riposte.order.all",
		LiveSubject("001"):     "riposte.live.001",
		Inbox("001"):           "_INBOX.001",
		JoinInbox("t1"):        "_INBOX.join.t1",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for id, want := range map[string]bool{
		"000": true, "001": true, "1234": true, "123456789": true, "": false, "1": false, "01": false, "0123": false, "1234567890": false,
		"00a": false, "*": false, "0.1": false, ">": false, "all": false, "００１": false,
	} {
		if ValidID(id) != want {
			t.Errorf("ValidID(%q) is %v", id, !want)
		}
		if got, ok := Speaker("riposte.event." + id); ok != want && id != "0.1" || ok && got != id {
			t.Errorf("Speaker of %q: %q, %v", id, got, ok)
		}
	}
}

// Whatever is decoded can be sent on and arrives as it was.
func FuzzDecode(f *testing.F) {
	n := 0
	var o riposte.Order
	fill(reflect.ValueOf(&o).Elem(), &n)
	b, err := Encode(o)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(b))
	f.Add([]byte(`{"seq":1,"token":"a","orders":[{}],"bundle":{}}`))
	f.Add([]byte(`{"_bytes":{"ID":"/w=="}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []any{
			&riposte.Order{}, &riposte.Receipt{}, &Undo{}, &Bundle{}, &Rotate{}, &Presence{}, &SyncRequest{}, &SyncReply{},
			&JoinRequest{}, &JoinReply{}, &RekeyRequest{}, &RekeyReply{},
		} {
			if Decode(b, v) != nil {
				continue
			}
			again, err := Encode(v)
			if err != nil {
				continue // a name that is no text, a time beyond the year 9999
			}
			if len(again) > MaxMessage {
				continue
			}
			got := reflect.New(reflect.TypeOf(v).Elem()).Interface()
			if err := Decode(again, got); err != nil {
				if r, ok := v.(*riposte.Receipt); ok && r.Outcome == 0 {
					continue
				}
				t.Fatalf("%T: %s decodes, but not when sent on as %s: %v", v, b, again, err)
			}
			second, err := Encode(got)
			if err != nil || !bytes.Equal(again, second) {
				t.Errorf("%T: %s became %s, %v", v, again, second, err)
			}
		}
	})
}
