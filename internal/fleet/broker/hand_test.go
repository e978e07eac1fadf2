package broker

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"riposte/internal/fleet/identity"
)

// connect answers the broker's greeting by hand.
func connect(t *testing.T, w io.Writer, c *identity.Credentials, info string) {
	t.Helper()
	var greeting struct {
		Nonce string `json:"nonce"`
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(info, "INFO ")), &greeting); err != nil {
		t.Fatal(err)
	}
	pair, err := nkeys.FromSeed(c.Seed)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := pair.Sign([]byte(greeting.Nonce))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{"jwt": c.JWT, "sig": base64.RawURLEncoding.EncodeToString(sig), "verbose": false})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(w, "CONNECT %s\r\n", b); err != nil {
		t.Fatal(err)
	}
}
