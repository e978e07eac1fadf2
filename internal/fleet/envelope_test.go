package fleet

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nkeys"
)

func signer(t testing.TB) *Signer {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner(seed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sealed(t testing.TB, s *Signer, e Envelope) Signed {
	t.Helper()
	out, err := s.Seal(e)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func envelope() Envelope {
	return Envelope{
		Seq: 42, To: "002", Kind: KindOrder, Issued: time.Date(2026, 3, 1, 12, 0, 0, 5, time.FixedZone("x", 3600)),
		Body: json.RawMessage(`{"id":"o1"}`),
	}
}

func TestOpen(t *testing.T) {
	s, other := signer(t), signer(t)
	pinned := []string{"not a key", s.Public()}
	good := sealed(t, s, envelope())
	all := envelope()
	all.To = All
	with := func(change func(*Signed)) Signed {
		c := Signed{Body: []byte(string(good.Body)), Key: good.Key, Sig: []byte(string(good.Sig))}
		change(&c)
		return c
	}
	// signed signs whatever it is given, as only the servers can.
	signed := func(body string) Signed {
		sig, err := s.pair.Sign(signedText([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		return Signed{Body: []byte(body), Key: s.Public(), Sig: sig}
	}
	plain, err := s.pair.Sign(good.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		in   Signed
		me   string
		want error
	}{
		{"to me", good, "002", nil},
		{"to all", sealed(t, s, all), "007", nil},
		{"to another", good, "003", ErrAddressee},
		{"another's key", sealed(t, other, envelope()), "002", ErrUnknownKey},
		{"the pinned key's name on another's signature", with(func(c *Signed) { c.Sig = sealed(t, other, envelope()).Sig }), "002", ErrSignature},
		{"no key", with(func(c *Signed) { c.Key = "" }), "002", ErrUnknownKey},
		{"a pinned key that is none", with(func(c *Signed) { c.Key = "not a key" }), "002", ErrUnknownKey},
		{"no signature", with(func(c *Signed) { c.Sig = nil }), "002", ErrSignature},
		{"a long signature", with(func(c *Signed) { c.Sig = append(c.Sig, 0) }), "002", ErrSignature},
		{"a changed body", with(func(c *Signed) { c.Body[8] ^= 1 }), "002", ErrSignature},
		{"a body with a blank more", with(func(c *Signed) { c.Body = append(c.Body, ' ') }), "002", ErrSignature},
		{"an empty body", with(func(c *Signed) { c.Body = nil }), "002", ErrSignature},
		{"signed as something else", with(func(c *Signed) { c.Sig = plain }), "002", ErrSignature},
		{"no JSON", signed("what?"), "002", ErrMalformed},
		{"lacks the addressee", signed(`{"seq":1,"kind":"order","body":{}}`), "002", ErrMalformed},
		{"lacks the kind", signed(`{"seq":1,"to":"002","body":{}}`), "002", ErrMalformed},
		{"lacks the body", signed(`{"seq":1,"to":"002","kind":"order"}`), "002", ErrMalformed},
		{"too large", signed(strings.Repeat(" ", MaxEnvelope+1)), "002", ErrTooLarge},
		{"a kind of the future", signed(`{"seq":1,"to":"002","kind":"dance","body":{}}`), "002", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := Open(c.in, pinned, c.me)
			if !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if c.want != nil && c.want != ErrAddressee && e.To != "" {
				t.Errorf("refused, but it gives %+v", e)
			}
		})
	}
	e, err := Open(good, pinned, "002")
	want := envelope()
	want.Issued = want.Issued.UTC()
	if d := cmp.Diff(want, e); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

func TestSignedTravelsInAHeader(t *testing.T) {
	s := signer(t)
	in := sealed(t, s, envelope())
	h := http.Header{} // as strict about names as any
	in.SetHeader(h.Set)
	out := SignedFrom(in.Body, h.Get)
	if d := cmp.Diff(in, out); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, bad := range []string{"", "!", "AAAA"} {
		h.Set(headerSignature, bad)
		if _, err := Open(SignedFrom(in.Body, h.Get), []string{s.Public()}, "002"); !errors.Is(err, ErrSignature) {
			t.Errorf("with the signature %q: %v", bad, err)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	s := signer(t)
	for name, change := range map[string]func(*Envelope){
		"no addressee": func(e *Envelope) { e.To = "" },
		"no kind":      func(e *Envelope) { e.Kind = "" },
		"no body":      func(e *Envelope) { e.Body = nil },
		"no JSON":      func(e *Envelope) { e.Body = json.RawMessage("{") },
		"too large":    func(e *Envelope) { e.Body = json.RawMessage(`"` + strings.Repeat("x", MaxEnvelope) + `"`) },
	} {
		e := envelope()
		change(&e)
		if _, err := s.Seal(e); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
	// The largest one fits into a message, whichever way it travels.
	e := envelope()
	e.Body = json.RawMessage(`"` + strings.Repeat("x", MaxEnvelope-200) + `"`)
	b, err := Encode(SyncReply{Orders: []Signed{sealed(t, s, e)}})
	if err != nil || len(b) > MaxMessage {
		t.Errorf("a reply with the largest envelope takes %d bytes, %v", len(b), err)
	}
}

func TestNewSignerRefuses(t *testing.T) {
	curve, err := nkeys.CreateCurveKeys()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := curve.Seed()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, []byte("SUnonsense"), seed} {
		if _, err := NewSigner(bad); err == nil {
			t.Errorf("%q is taken for a key", bad)
		}
	}
}

func FuzzOpen(f *testing.F) {
	s := signer(f)
	good := sealed(f, s, envelope())
	f.Add(good.Body, good.Key, good.Sig)
	f.Add([]byte("{}"), "UA", []byte{})
	f.Fuzz(func(t *testing.T, body []byte, key string, sig []byte) {
		if e, err := Open(Signed{Body: body, Key: key, Sig: sig}, []string{good.Key, key}, "002"); err == nil && key == good.Key && string(body) != string(good.Body) {
			t.Errorf("a forged envelope was opened: %+v", e)
		}
	})
}
