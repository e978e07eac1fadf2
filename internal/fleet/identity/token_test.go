package identity_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"riposte/internal/fleet/identity"
)

func newToken(t testing.TB, a *identity.Authority) string {
	t.Helper()
	text, err := a.NewToken(identity.TokenOptions{
		URLs: []string{"tls://broker.example:4222", "tls://192.0.2.1:4222"}, ID: identity.NewTokenID(), Expires: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestToken(t *testing.T) {
	a, _ := newAuthority(t)
	text := newToken(t, a)
	t.Logf("%d characters", len(text))
	if len(text) > 2000 {
		t.Errorf("%d characters: a terminal takes 4,095", len(text))
	}
	// As mail and terminals deliver it.
	var wrapped strings.Builder
	for i, r := range text {
		if i%76 == 75 {
			wrapped.WriteString("\r\n  ")
		}
		wrapped.WriteRune(r)
	}
	for _, text := range []string{text, " " + text + "\n", wrapped.String()} {
		got, err := identity.ParseToken(text)
		if err != nil {
			t.Fatal(err)
		}
		if got.URLs[1] != "tls://192.0.2.1:4222" || string(got.CA) != string(a.CAPEM()) || got.OrderKeys[0] != a.OrderKey() {
			t.Errorf("read back %+v", got)
		}
	}
	for cut := range len(text) {
		if _, err := identity.ParseToken(text[:cut]); !errors.Is(err, identity.ErrTokenDamaged) && !errors.Is(err, identity.ErrNoToken) && !errors.Is(err, identity.ErrTokenVersion) {
			t.Fatalf("cut after %d characters: %v", cut, err)
		}
	}
	const alphabet = "ABab01-_"
	for i := len("riposte-1."); i < len(text); i += 7 {
		for _, r := range alphabet {
			if byte(r) == text[i] {
				continue
			}
			if _, err := identity.ParseToken(text[:i] + string(r) + text[i+1:]); !errors.Is(err, identity.ErrTokenDamaged) {
				t.Fatalf("%q at %d: %v", r, i, err)
			}
		}
	}
	for text, want := range map[string]error{
		"": identity.ErrNoToken, "hello": identity.ErrNoToken, "riposte-": identity.ErrNoToken, "riposte-x.y": identity.ErrNoToken,
		"riposte-2." + text: identity.ErrTokenVersion, strings.Replace(text, "-1.", "-10.", 1): identity.ErrTokenVersion,
		"riposte-1.": identity.ErrTokenDamaged, text + "A": identity.ErrTokenDamaged, strings.Repeat("a", 1<<20): identity.ErrNoToken,
	} {
		if _, err := identity.ParseToken(text); !errors.Is(err, want) {
			t.Errorf("%.40q: %v, expected %v", text, err, want)
		}
	}
	for _, urls := range [][]string{nil, {"nats://broker.example:4222"}, {"broker.example:4222"}, {"tls://user:secret@broker.example"}} {
		if _, err := a.NewToken(identity.TokenOptions{URLs: urls, ID: identity.NewTokenID(), Expires: time.Now().Add(time.Hour)}); err == nil {
			t.Errorf("a token for %q", urls)
		}
	}
}

func TestTokenExpires(t *testing.T) {
	a, _ := newAuthority(t)
	synctest.Test(t, func(t *testing.T) {
		text := newToken(t, a)
		time.Sleep(time.Hour - 2*time.Second)
		if _, err := identity.ParseToken(text); err != nil {
			t.Errorf("before its end: %v", err)
		}
		time.Sleep(2 * time.Second)
		got, err := identity.ParseToken(text)
		if !errors.Is(err, identity.ErrTokenExpired) || !strings.Contains(err.Error(), "clock") || got.ID == "" {
			t.Errorf("after it: %v", err)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	a, err := identity.Init(f.TempDir()+"/a", identity.InitOptions{})
	if err != nil {
		f.Fatal(err)
	}
	good := newToken(f, a)
	packed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(good, "riposte-1."))
	if err != nil {
		f.Fatal(err)
	}
	plain, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(good), 0)
	f.Add(packed[:len(packed)-4], 1)
	f.Add(plain, 2)
	f.Fuzz(func(t *testing.T, b []byte, layer int) {
		text := string(b)
		if layer == 2 { // what is packed
			var out bytes.Buffer
			w, err := flate.NewWriter(&out, flate.HuffmanOnly)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write(b)
			_ = w.Close()
			b = out.Bytes()
		}
		if layer > 0 { // what the checksum vouches for
			text = "riposte-1." + base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(slices.Clone(b), crc32.ChecksumIEEE(b)))
		}
		got, err := identity.ParseToken(text)
		if err == nil && (got.ID == "" || len(got.URLs) == 0 || len(got.CA) == 0 || len(got.OrderKeys) == 0) {
			t.Errorf("accepted, and empty: %+v", got)
		}
	})
}
