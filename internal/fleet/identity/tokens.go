package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"riposte/internal/fleet"
)

// MaxTokenLife is how long a token may be good for.
const MaxTokenLife = 30 * 24 * time.Hour

// keepTokens is how long it is known what became of a token.
const keepTokens = 3 * MaxTokenLife

// maxRefused is up to where refusals are counted: whoever goes on asking does not
// keep the broker's disk busy.
const maxRefused = 100

// TokenRecord is what servers know of an enrolment token. The token itself is
// known to nobody but whoever was given it.
type TokenRecord struct {
	ID      string    `json:"id"`
	Public  string    `json:"public"` // key of the token's user
	Name    string    `json:"name"`   // of the agent that joins with it
	Groups  []string  `json:"groups,omitempty"`
	By      string    `json:"by"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`

	Withdrawn time.Time `json:"withdrawn,omitzero"`
	UsedBy    string    `json:"used_by,omitempty"` // the key that joined with it
	Used      time.Time `json:"used,omitzero"`
	Agent     string    `json:"agent,omitempty"` // the id it got

	// Refused counts other keys that tried the token after its use, and LastKey
	// is the last of them: somebody else has the token.
	Refused   int       `json:"refused,omitempty"`
	LastKey   string    `json:"last_key,omitempty"`
	LastTried time.Time `json:"last_tried,omitzero"`
}

// Why a token is refused at the server.
var (
	ErrTokenUnknown   = errors.New("the token is not known here: it is very old, or of another fleet")
	ErrTokenUsed      = errors.New("the token was used by another host; if that was not one of yours, remove the agent it became")
	ErrTokenWithdrawn = errors.New("the token was withdrawn")
	ErrTokenProof     = errors.New("whoever asks does not hold the token")
)

// Tokens are the enrolment tokens, kept in the broker.
type Tokens struct{ kv jetstream.KeyValue }

// NewTokens opens the list of tokens in the broker, or makes it with so many
// replicas.
func NewTokens(ctx context.Context, js jetstream.JetStream, replicas int) (*Tokens, error) {
	kv, err := Bucket(ctx, js, jetstream.KeyValueConfig{
		Bucket: fleet.TokenBucket, Description: "enrolment tokens", Replicas: max(replicas, 1), History: 1, TTL: keepTokens,
	})
	if err != nil {
		return nil, fmt.Errorf("open the enrolment tokens: %w", err)
	}
	return &Tokens{kv: kv}, nil
}

// IssueOptions say for whom a token is.
type IssueOptions struct {
	Name   string // of the agent
	Groups []string
	For    time.Duration // how long it is good for
	By     string        // who asked for it
	URLs   []string      // of the broker
}

// Issue makes a token for one new agent, or for one that was imported and has
// not joined yet. The text is a secret and is not kept.
func (t *Tokens) Issue(ctx context.Context, a *Authority, r *Roster, o IssueOptions) (text string, rec TokenRecord, err error) {
	if err := checkName(o.Name); err != nil {
		return "", rec, err
	}
	if o.For <= 0 || o.For > MaxTokenLife {
		return "", rec, fmt.Errorf("a token for %s: expected more than nothing and at most %s", o.For, MaxTokenLife)
	}
	if old, ok := r.ByName(o.Name); ok && old.Key != "" {
		return "", rec, fmt.Errorf("%w: %s is agent %s: remove that one first, or choose another name", ErrNameTaken, o.Name, old.ID)
	}
	now := time.Now().UTC()
	rec = TokenRecord{
		ID: NewTokenID(), Name: o.Name, Groups: union(nil, o.Groups), By: o.By,
		Issued: now, Expires: now.Add(o.For).Truncate(time.Second),
	}
	if text, err = a.NewToken(TokenOptions{URLs: o.URLs, ID: rec.ID, Expires: rec.Expires}); err != nil {
		return "", rec, err
	}
	token, err := ParseToken(text)
	if err != nil {
		return "", rec, fmt.Errorf("make a token: %w", err)
	}
	if rec.Public, err = token.PublicKey(); err != nil {
		return "", rec, fmt.Errorf("make a token: %w", err)
	}
	value, err := json.Marshal(rec)
	if err != nil {
		return "", rec, fmt.Errorf("make a token: %w", err)
	}
	if _, err := t.kv.Create(ctx, rec.ID, value); err != nil {
		return "", rec, fmt.Errorf("store the token: %w", err)
	}
	return text, rec, nil
}

// Redeem enrols the holder of a token under publicKey. proof is what
// [Token.Proof] made for that key. A token is good for one key: of two that race
// exactly one wins. The winner may ask again, for its answer may be lost, and
// gets the same record; fresh says that it is the first time.
func (t *Tokens) Redeem(ctx context.Context, r *Roster, proof, publicKey string) (rec Record, fresh bool, err error) {
	id, sig, ok := splitProof(proof)
	if !ok || !ValidKey(publicKey) {
		return rec, false, ErrTokenProof
	}
	tok, err := t.claim(ctx, id, sig, publicKey)
	if err != nil {
		return rec, false, err
	}
	if tok.Agent != "" {
		rec, ok = r.Get(tok.Agent)
		if ok && rec.Key == publicKey {
			return rec, false, nil
		}
	}
	// The token belongs to this key now, whatever happens here: a repeat goes on.
	if rec, err = r.Add(ctx, tok.Name, tok.Groups, publicKey); err != nil {
		return rec, false, err
	}
	if tok.Agent == rec.ID {
		return rec, false, nil
	}
	_, err = t.change(ctx, id, func(tok *TokenRecord) error {
		tok.Agent = rec.ID
		return nil
	})
	return rec, true, err
}

// claim makes the token belong to a key, or says why it does not.
func (t *Tokens) claim(ctx context.Context, id string, sig []byte, publicKey string) (TokenRecord, error) {
	var refused error
	tok, err := t.change(ctx, id, func(tok *TokenRecord) error {
		refused = nil
		now := time.Now().UTC()
		holder, err := nkeys.FromPublicKey(tok.Public)
		if err != nil || holder.Verify(proofText(id, publicKey), sig) != nil {
			return ErrTokenProof
		}
		switch {
		case tok.UsedBy == publicKey:
			return nil
		case tok.UsedBy != "":
			refused = ErrTokenUsed
			if tok.Refused >= maxRefused {
				return nil
			}
			tok.Refused, tok.LastKey, tok.LastTried = tok.Refused+1, publicKey, now
			return nil
		case !tok.Withdrawn.IsZero():
			return ErrTokenWithdrawn
		case !now.Before(tok.Expires):
			return fmt.Errorf("%w at %s: have a new one made", ErrTokenExpired, tok.Expires.Format(time.RFC3339))
		}
		tok.UsedBy, tok.Used = publicKey, now
		return nil
	})
	if err == nil {
		err = refused
	}
	return tok, err
}

// change edits the record of a token until no other server was faster.
func (t *Tokens) change(ctx context.Context, id string, edit func(*TokenRecord) error) (tok TokenRecord, err error) {
	for {
		e, err := t.kv.Get(ctx, id)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return tok, ErrTokenUnknown
		}
		if err != nil {
			return tok, fmt.Errorf("read the token: %w", err)
		}
		tok = TokenRecord{}
		if err := json.Unmarshal(e.Value(), &tok); err != nil {
			return tok, fmt.Errorf("read the token: %w", err)
		}
		if err := edit(&tok); err != nil {
			return tok, err
		}
		value, err := json.Marshal(tok)
		if err != nil {
			return tok, fmt.Errorf("write the token: %w", err)
		}
		if string(value) == string(e.Value()) {
			return tok, nil
		}
		_, err = t.kv.Update(ctx, id, value, e.Revision())
		if err == nil {
			return tok, nil
		}
		if !isConflict(err) {
			return tok, fmt.Errorf("write the token: %w", err)
		}
	}
}

// Withdraw makes a token worthless that was not used yet.
func (t *Tokens) Withdraw(ctx context.Context, id string) (TokenRecord, error) {
	return t.change(ctx, id, func(tok *TokenRecord) error {
		if tok.UsedBy != "" {
			return fmt.Errorf("token %s was used already, by agent %s", id, tok.Agent)
		}
		if tok.Withdrawn.IsZero() {
			tok.Withdrawn = time.Now().UTC()
		}
		return nil
	})
}

// List returns the tokens of the last months, the newest first.
func (t *Tokens) List(ctx context.Context) ([]TokenRecord, error) {
	w, err := t.kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("list the tokens: %w", err)
	}
	defer func() { _ = w.Stop() }() // a connection that is gone has no watch
	var out []TokenRecord
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return nil, errors.New("list the tokens: the connection to the broker ended")
			}
			if e == nil {
				slices.SortFunc(out, func(a, b TokenRecord) int { return b.Issued.Compare(a.Issued) })
				return out, nil
			}
			var tok TokenRecord
			if err := json.Unmarshal(e.Value(), &tok); err != nil {
				return nil, fmt.Errorf("list the tokens: %s: %w", e.Key(), err)
			}
			out = append(out, tok)
		case <-ctx.Done():
			return nil, fmt.Errorf("list the tokens: %w", context.Cause(ctx))
		}
	}
}
