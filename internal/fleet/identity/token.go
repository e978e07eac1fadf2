package identity

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"riposte/internal/fleet"
)

// tokenPrefix begins every enrolment token; its number is the version of the
// format.
const tokenPrefix = "riposte-1."

const (
	maxToken     = 16 << 10 // characters
	maxTokenBody = 64 << 10 // bytes, unpacked
)

// Token is all that a host needs to join: where the brokers are and which CA
// vouches for them, whose orders are obeyed, and a user that may ask to join
// and do nothing else.
type Token struct {
	ID        string
	URLs      []string
	CA        []byte // PEM
	OrderKeys []string
	JWT       string
	Seed      []byte
	Expires   time.Time
}

// tokenBody is a token as it is written: JSON, packed, with a checksum behind.
type tokenBody struct {
	ID        string   `json:"i"`
	URLs      []string `json:"u"`
	CA        []byte   `json:"c,omitempty"` // DER
	OrderKeys []string `json:"o"`
	JWT       string   `json:"j"`
	Seed      string   `json:"s"`
	Expires   int64    `json:"e"`
}

// TokenOptions are what a token is made of.
type TokenOptions struct {
	URLs    []string
	ID      string // NewTokenID makes one
	Expires time.Time
}

// NewTokenID makes an id for a token.
func NewTokenID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// NewToken writes an enrolment token. It is a secret until it was used.
func (a *Authority) NewToken(o TokenOptions) (string, error) {
	if _, err := allPlain(o.URLs); err != nil {
		return "", fmt.Errorf("make a token: %w", err)
	}
	if !validTokenID(o.ID) {
		return "", fmt.Errorf("make a token: %q is not an id", o.ID)
	}
	seed, key, err := NewKey()
	if err != nil {
		return "", err
	}
	claims, err := a.user(a.tokens, o.ID, key, o.Expires, "token")
	if err != nil {
		return "", err
	}
	return tokenBody{
		ID: o.ID, URLs: o.URLs, CA: a.ca.Raw, OrderKeys: []string{a.OrderKey()},
		JWT: claims, Seed: string(seed), Expires: o.Expires.Unix(),
	}.text()
}

func (b tokenBody) text() (string, error) {
	plain, err := json.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("write a token: %w", err)
	}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		return "", fmt.Errorf("write a token: %w", err)
	}
	_, err = w.Write(plain)
	if err = errors.Join(err, w.Close()); err != nil {
		return "", fmt.Errorf("write a token: %w", err)
	}
	sum := binary.BigEndian.AppendUint32(out.Bytes(), crc32.ChecksumIEEE(out.Bytes()))
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(sum), nil
}

// Why a token cannot be used.
var (
	ErrNoToken      = errors.New("this is not an enrolment token of riposte: one begins with \"" + tokenPrefix + "\"")
	ErrTokenVersion = errors.New("this token was made by another version of riposte: use the same version here, or have one made for this version")
	ErrTokenDamaged = errors.New("the token is not whole: was it cut off, or is a character missing? Copy all of it, line breaks do no harm")
	ErrTokenExpired = errors.New("the token has expired")
)

// ParseToken reads an enrolment token. White space in it, which a terminal adds,
// does no harm. With ErrTokenExpired the token is returned all the same.
func ParseToken(text string) (Token, error) {
	if len(text) > maxToken {
		return Token{}, ErrNoToken
	}
	text = strings.Join(strings.Fields(text), "")
	packed, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok {
		if rest, ok := strings.CutPrefix(text, "riposte-"); ok && len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' {
			return Token{}, ErrTokenVersion
		}
		return Token{}, ErrNoToken
	}
	sum, err := base64.RawURLEncoding.DecodeString(packed)
	if err != nil || len(sum) < 4 {
		return Token{}, ErrTokenDamaged
	}
	b := sum[:len(sum)-4]
	if crc32.ChecksumIEEE(b) != binary.BigEndian.Uint32(sum[len(b):]) {
		return Token{}, ErrTokenDamaged
	}
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), maxTokenBody+1))
	if err != nil || len(plain) > maxTokenBody {
		return Token{}, ErrTokenDamaged
	}
	var body tokenBody
	if err := json.Unmarshal(plain, &body); err != nil {
		return Token{}, ErrTokenDamaged
	}
	t := Token{
		ID: body.ID, URLs: body.URLs, OrderKeys: body.OrderKeys, JWT: body.JWT,
		Seed: []byte(body.Seed), Expires: time.Unix(body.Expires, 0).UTC(),
	}
	if _, err := x509.ParseCertificate(body.CA); err != nil {
		return Token{}, fmt.Errorf("the token: its certificate authority: %w", err)
	}
	t.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: body.CA})
	if err := t.check(); err != nil {
		return Token{}, fmt.Errorf("the token: %w", err)
	}
	if now := time.Now(); !now.Before(t.Expires) {
		return t, fmt.Errorf("%w at %s (the clock of this host says %s): have a new one made",
			ErrTokenExpired, t.Expires.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return t, nil
}

func (t Token) check() error {
	if !validTokenID(t.ID) {
		return fmt.Errorf("%q is not an id", t.ID)
	}
	return checkTrust(t.Seed, t.OrderKeys, t.URLs, t.CA)
}

func validTokenID(id string) bool {
	if len(id) < 8 || len(id) > 32 {
		return false
	}
	return strings.IndexFunc(id, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }) < 0
}

// PublicKey is the public key of the token's user.
func (t Token) PublicKey() (string, error) { return publicFromSeed(t.Seed) }

// Options connect the holder of the token, who may then ask to join.
func (t Token) Options() []nats.Option {
	return options(t.URLs, t.CA, t.JWT, t.Seed, fleet.JoinInbox(t.ID), "riposte join "+t.ID)
}

// Proof says that the holder of the token asks for publicKey to join. It is what
// travels as JoinRequest.Token: the token's key does not, so neither another
// holder of a token nor the broker itself can join in its place.
func (t Token) Proof(publicKey string) (string, error) {
	pair, err := nkeys.FromSeed(t.Seed)
	if err != nil {
		return "", fmt.Errorf("the token's key: %w", err)
	}
	defer pair.Wipe()
	sig, err := pair.Sign(proofText(t.ID, publicKey))
	if err != nil {
		return "", fmt.Errorf("the token's key: %w", err)
	}
	return t.ID + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}

// proofText is what a proof signs. No other signature of riposte's begins so.
func proofText(id, publicKey string) []byte {
	return []byte("riposte join 1\n" + id + "\n" + publicKey + "\n")
}

// splitProof takes a proof apart.
func splitProof(proof string) (id string, sig []byte, ok bool) {
	if len(proof) > 256 {
		return "", nil, false
	}
	id, text, ok := strings.Cut(proof, ".")
	if !ok || !validTokenID(id) {
		return "", nil, false
	}
	sig, err := base64.RawURLEncoding.DecodeString(text)
	return id, sig, err == nil
}
