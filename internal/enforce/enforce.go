// Package enforce defines what a mechanism is: one way of making a response
// real on this host. The mechanisms are the rooms below it, enforce/all is the
// list of them, enforce/enforcetest the contract they all keep.
package enforce

import (
	"context"
	"time"

	"riposte"
)

// Effect is one response that is to be put in force, to be taken back, or that
// is in force on this host. On a host an effect is identified by its mechanism
// and target: the executor never asks one mechanism for the same target twice
// with different ends, it asks for the latest end. Order, By and Alert are set
// when an order is carried out; a Lister may be asked to undo, renew or put back
// an effect without them.
type Effect struct {
	Order   string // the order that first caused it
	Command riposte.Command
	Target  riposte.Target
	Until   time.Time      // zero: until undone
	State   string         // what Apply last returned: on Undo, and when an effect in force is applied again
	Alert   *riposte.Alert // why; nil by hand
	By      string         // as in the order
	Force   bool           // as in the order: what a mechanism refuses by default may pass
}

// Result is what became of one effect.
type Result struct {
	Err      error
	Verified bool   // the mechanism read the effect back
	State    string // what Undo needs to know later; kept in the journal. Empty keeps the former one
	Output   string // what a script printed, bounded
	NoUndo   bool   // the effect has no undo: a script that declined the handshake
}

// Mechanism is one way of making responses real. Apply and Undo take effects in
// bulk, in order, and return one result for each. Both are idempotent: applying
// what is in force renews its end, undoing what is absent succeeds. Neither
// touches what riposte did not make. They return early, with errors in the
// remaining results, when ctx ends. An Apply that fails leaves nothing behind as
// far as the mechanism can see to it: only a Lister is asked to undo after it.
// A mechanism is used by one goroutine at a time unless it says otherwise.
type Mechanism interface {
	// Name is how receipts and lists call it: "nftables", "hosts.deny".
	Name() string
	// Kind is what it acts on.
	Kind() riposte.Kind
	// Durable reports whether its effects outlive a restart of the machine
	// (files, accounts), so that the intent must reach the disk first.
	Durable() bool
	Apply(ctx context.Context, effects []Effect) []Result
	Undo(ctx context.Context, effects []Effect) []Result
}

// Parallel is a mechanism that several goroutines may use at a time, never two
// of them for one target. The executor hands it its effects one by one, so that
// a slow one holds up none but those of its own target.
type Parallel interface {
	Mechanism
	Parallel() int // how many at a time
}

// Lister is a mechanism that can read back what of riposte's is in force. A
// target with a kernel timeout has its end in Until. Only a Lister holds effects
// without end: an order without timeout is remembered, listed and put back by
// one, and merely carried out, each time anew, by any other mechanism. List may
// be called while Apply or Undo is under way.
type Lister interface {
	Mechanism
	List(ctx context.Context) ([]Effect, error)
}

// Fail returns one result with err for each effect.
func Fail(effects []Effect, err error) []Result {
	out := make([]Result, len(effects))
	for i := range out {
		out[i].Err = err
	}
	return out
}
