package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
)

const (
	// again is how long after a change the broker is told once more. Claims carry
	// their time in seconds, and when two differ within one second the nodes of a
	// cluster do not know which is newer: a node that was away could bring the
	// older ones back.
	again = 2 * time.Second
	// checkEvery is how often the brokers are asked what they know.
	checkEvery = 10 * time.Second
	// gather is how long their answers are waited for, and one answer to a push.
	gather = 2 * time.Second
	// revokedSize is what a revoked key takes in the claims, in bytes.
	revokedSize = 94
)

// Enforce has the broker know what each role may do and whose keys are revoked,
// now and whenever it changes, until ctx ends. A node of a cluster that does not
// know, because it was away or was started with an old configuration, is told
// again. sys is connected with [Authority.SystemOptions]. Every server runs it.
func (r *Roster) Enforce(ctx context.Context, a *Authority, sys *nats.Conn) error {
	if err := a.pushFleet(ctx, sys); err != nil {
		return err
	}
	var told Mark
	var pushed, checked time.Time
	settled := false // what was told last was told again
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		now, mark := time.Now(), r.RevokedMark()
		push := pushed.IsZero() || mark != told || !settled && now.Sub(pushed) >= again
		if !push && now.Sub(checked) >= checkEvery {
			known, err := r.known(ctx, a, sys)
			if err != nil {
				return err
			}
			push, checked = !known, now
		}
		if push {
			settled = !pushed.IsZero() && mark == told
			revoked := r.Revoked()
			if len(revoked) > manyRevoked && pushed.IsZero() {
				r.log.Warn("many keys are revoked: some day the broker cannot be told of all, and the fleet needs a new authority",
					"revoked", len(revoked), "at_most_about", MaxServerPayload/revokedSize)
			}
			if err := a.Push(ctx, sys, revoked); err != nil {
				return err
			}
			told, pushed, checked = mark, now, now
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Push tells the broker once whose keys are revoked. It returns when a broker has
// taken it: connections with these keys are cut then. [Roster.Enforce] sees to it
// that all of a cluster know.
func (a *Authority) Push(ctx context.Context, sys *nats.Conn, revoked []string) error {
	claims, err := a.AccountJWT(revoked)
	if err != nil {
		return err
	}
	if len(claims) > MaxServerPayload {
		return fmt.Errorf("tell the broker who may do what: %w: %d of them take %d bytes, expected at most %d", ErrManyRevoked, len(revoked), len(claims), MaxServerPayload)
	}
	return push(ctx, sys, claims)
}

// ErrManyRevoked means that the broker cannot be told of all revoked keys. The
// credentials of agents have no end, so a revoked key has none either.
var ErrManyRevoked = errors.New("too many keys are revoked: the fleet needs a new authority (riposte server init), and its agents new tokens")

// manyRevoked is how many revoked keys are worth a warning: two thirds of what
// the claims hold, with years to go for most fleets.
const manyRevoked = 60_000

// pushFleet tells the broker what this version of riposte wants of the servers'
// account.
func (a *Authority) pushFleet(ctx context.Context, sys *nats.Conn) error {
	_, claims := a.FleetAccount()
	return push(ctx, sys, claims)
}

func push(ctx context.Context, sys *nats.Conn, claims string) error {
	ctx, cancel := context.WithTimeout(ctx, gather)
	defer cancel()
	m, err := sys.RequestWithContext(ctx, ClaimsSubject, []byte(claims))
	if err != nil {
		return fmt.Errorf("tell the broker who may do what: %w", err)
	}
	var answer struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("tell the broker who may do what: its answer: %w", err)
	}
	if answer.Error != nil {
		return errors.New("tell the broker who may do what: " + answer.Error.Description)
	}
	return nil
}

// known asks all brokers and reports whether each that answers knows every key
// that is revoked.
func (r *Roster) known(ctx context.Context, a *Authority, sys *nats.Conn) (bool, error) {
	inbox := sys.NewInbox()
	sub, err := sys.SubscribeSync(inbox)
	if err == nil {
		err = sys.PublishRequest(lookupSubject(a.Account()), inbox, nil)
	}
	if err != nil {
		return false, fmt.Errorf("ask the broker for revoked keys: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // a connection that is gone has no subscription
	ctx, cancel := context.WithTimeout(ctx, gather)
	defer cancel()
	revoked := r.Revoked()
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if ctx.Err() != nil || errors.Is(err, nats.ErrNoResponders) {
			return true, nil // those that do not answer are asked next time
		}
		if err != nil {
			return false, fmt.Errorf("ask the broker for revoked keys: %w", err)
		}
		c, err := jwt.DecodeAccountClaims(string(m.Data))
		if err != nil {
			return false, nil // it knows nothing of the account
		}
		for _, key := range revoked {
			if !c.Revocations.IsRevoked(key, forever) {
				return false, nil
			}
		}
	}
}

// lookupSubject asks for the claims of an account.
func lookupSubject(account string) string { return "$SYS.REQ.ACCOUNT." + account + ".CLAIMS.LOOKUP" }
