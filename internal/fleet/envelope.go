package fleet

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nkeys"
)

// Why a message is refused.
var (
	ErrUnknownKey = errors.New("signed with a key that is not pinned")
	ErrSignature  = errors.New("the signature does not fit")
	ErrAddressee  = errors.New("addressed to another host")
	ErrMalformed  = errors.New("malformed")
	ErrTooLarge   = errors.New("too large")
)

// MaxEnvelope is the longest signed body, in bytes: with its signature, and
// written as base64 in a SyncReply, it fits into a message.
const MaxEnvelope = 512 << 10

// Kind says what the body of an envelope is.
type Kind string

// The kinds of envelope. A host passes over kinds that it does not know: a
// newer server may have more.
const (
	KindOrder  Kind = "order"  // riposte.Order
	KindUndo   Kind = "undo"   // Undo
	KindBundle Kind = "bundle" // Bundle
	KindRotate Kind = "rotate" // Rotate
	KindJoined Kind = "joined" // JoinReply, addressed to the public key that asked
)

// Envelope is what a server says to one host or to all, with what makes it
// this message and no other: its place in the log of orders, whom it is for,
// and when it was said. Whoever opens one still has to see that it was not dealt
// with before.
type Envelope struct {
	Seq    uint64          `json:"seq"` // sequence in the stream of orders; 0 outside of it
	To     string          `json:"to"`  // All, the id of an agent, or a public key
	Kind   Kind            `json:"kind"`
	Issued time.Time       `json:"issued"` // later than all before it in the log, but for what two servers issue at once
	Body   json.RawMessage `json:"body"`   // from Encode
}

// Place is how far a host is in the log of orders: the last that it has dealt
// with. A log that begins anew, from a backup or with an empty disk, gives the
// same sequences again, but to what was issued later.
type Place struct {
	Seq    uint64    `json:"seq"`
	Issued time.Time `json:"issued,omitzero"` // zero: not known
}

// Signed is an envelope as it travels.
type Signed struct {
	Body []byte `json:"body"` // the envelope, byte for byte as it was signed
	Key  string `json:"key"`  // public key of the signer
	Sig  []byte `json:"sig"`  // ed25519
}

// The headers of a message that carries a Signed; the payload is its Body.
const (
	headerKey       = "Riposte-Key"
	headerSignature = "Riposte-Signature"
)

// SetHeader writes key and signature with the set function of a header.
func (s Signed) SetHeader(set func(name, value string)) {
	set(headerKey, s.Key)
	set(headerSignature, base64.RawStdEncoding.EncodeToString(s.Sig))
}

// SignedFrom puts together what SetHeader and the payload hold. What is missing
// or mangled is left empty, which Open refuses.
func SignedFrom(payload []byte, get func(name string) string) Signed {
	sig, err := base64.RawStdEncoding.DecodeString(get(headerSignature))
	if err != nil {
		sig = nil
	}
	return Signed{Body: payload, Key: get(headerKey), Sig: sig}
}

// Issued is when the envelope says that it was issued, whoever signed it: zero
// when that cannot be read.
func (s Signed) Issued() time.Time {
	var e struct {
		Issued time.Time `json:"issued"`
	}
	if json.Unmarshal(s.Body, &e) != nil {
		return time.Time{}
	}
	return e.Issued
}

// domain keeps a signature of an envelope from being one of anything else.
const domain = "riposte fleet envelope 1\n"

func signedText(body []byte) []byte { return append([]byte(domain), body...) }

// Signer signs in the name of the servers. It is safe for concurrent use.
type Signer struct {
	pair   nkeys.KeyPair
	public string
}

// NewSigner returns the signer with the given nkey seed.
func NewSigner(seed []byte) (*Signer, error) {
	pair, err := nkeys.FromSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("read the order key: %w", err)
	}
	s := &Signer{pair: pair}
	if s.public, err = pair.PublicKey(); err != nil {
		return nil, fmt.Errorf("read the order key: %w", err)
	}
	if _, err := pair.Sign([]byte(domain)); err != nil {
		return nil, fmt.Errorf("the order key cannot sign: %w", err)
	}
	return s, nil
}

// Public is the key that hosts pin.
func (s *Signer) Public() string { return s.public }

// Seal writes and signs an envelope.
func (s *Signer) Seal(e Envelope) (Signed, error) {
	if e.To == "" || e.Kind == "" || len(e.Body) == 0 {
		return Signed{}, fmt.Errorf("seal %s %d: it lacks addressee, kind or body", e.Kind, e.Seq)
	}
	e.Issued = e.Issued.UTC()
	body, err := json.Marshal(e)
	if err != nil {
		return Signed{}, fmt.Errorf("seal %s %d: %w", e.Kind, e.Seq, err)
	}
	if len(body) > MaxEnvelope {
		return Signed{}, fmt.Errorf("seal %s %d: %d bytes, expected at most %d: %w", e.Kind, e.Seq, len(body), MaxEnvelope, ErrTooLarge)
	}
	sig, err := s.pair.Sign(signedText(body))
	if err != nil {
		return Signed{}, fmt.Errorf("seal %s %d: %w", e.Kind, e.Seq, err)
	}
	return Signed{Body: body, Key: s.public, Sig: sig}, nil
}

// Open returns the envelope in s if one of the pinned keys signed it and it is
// addressed to me or to All. The error says what is wrong and is one of those
// above. An envelope for another host is returned with ErrAddressee, so that
// it can be said whose it was; nothing in any other refused one is true.
func Open(s Signed, pinned []string, me string) (Envelope, error) {
	if len(s.Body) > MaxEnvelope {
		return Envelope{}, fmt.Errorf("open a message: %d bytes, expected at most %d: %w", len(s.Body), MaxEnvelope, ErrTooLarge)
	}
	if !slices.Contains(pinned, s.Key) {
		return Envelope{}, fmt.Errorf("open a message: %w: %q", ErrUnknownKey, line(s.Key, 80))
	}
	key, err := nkeys.FromPublicKey(s.Key)
	if err != nil {
		return Envelope{}, fmt.Errorf("open a message: the pinned key %q: %w: %w", line(s.Key, 80), ErrUnknownKey, err)
	}
	if err := key.Verify(signedText(s.Body), s.Sig); err != nil {
		return Envelope{}, fmt.Errorf("open a message: %w", ErrSignature)
	}
	var e Envelope
	if err := json.Unmarshal(s.Body, &e); err != nil {
		return Envelope{}, fmt.Errorf("open a message: %w: %w", ErrMalformed, err)
	}
	if e.To == "" || e.Kind == "" || len(e.Body) == 0 {
		return Envelope{}, fmt.Errorf("open a message: %w: it lacks addressee, kind or body", ErrMalformed)
	}
	if e.To != All && e.To != me {
		return e, fmt.Errorf("open %s %d: %w: %q", e.Kind, e.Seq, ErrAddressee, line(e.To, 80))
	}
	return e, nil
}
