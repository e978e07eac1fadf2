// Package selftest proves with packets that a mechanism bites on this host's
// own kernel: `riposte selftest`.
//
// It builds a small network out of thin air: a peer with two addresses, a host,
// and behind the host's bridge a container.
//
//	peer ───── host ── bridge ── container
//
// The mechanism blocks one address of the peer on that host, and takes the
// block back. Before, meanwhile and afterwards the peer talks, from both
// addresses and in both families, to the host, to the container as a forwarded
// host, and to the container through a published port, over new connections and
// over some that are open already. The other address is the control: whatever
// is silent from there too is not blocked but broken.
//
// The machines are network namespaces that nothing but descriptors of this
// process holds: the real host's firewall, routes and interfaces are not
// touched, and everything is gone when the process is, however it ends.
package selftest

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"riposte/internal/enforce"
)

// Options say what is tested.
type Options struct {
	// Open makes the mechanism. It is called, as all that is done with the
	// mechanism afterwards, on a thread that lives in the test's host; it must
	// act in the network namespace of the calling thread, and open no sockets
	// on goroutines of its own. An io.Closer is closed.
	Open func() (enforce.Mechanism, error)
	// Run runs iptables for the published port where the kernel has no
	// nftables; nil for enforce.Exec.
	Run enforce.Runner
	// Patience is how long silence must last; 0 for 500 ms.
	Patience time.Duration
	// Stamina is for how long what shall get through is tried; 0 for 15 s. A
	// connection that stalled goes on after some seconds.
	Stamina time.Duration
	// Progress is told of every step as it is done; may be nil.
	Progress func(Step)
}

// Outcome is how a step came out.
type Outcome uint8

// The outcomes. Partly: no conversation is possible, but something still gets
// through that a better mechanism would have stopped. Skipped: this host cannot
// show it.
const (
	Passed Outcome = iota + 1
	Partly
	Failed
	Skipped
)

var outcomes = [...]string{Passed: "passed", Partly: "partly", Failed: "failed", Skipped: "skipped"}

func (o Outcome) String() string {
	if o > 0 && int(o) < len(outcomes) {
		return outcomes[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// MarshalText writes the outcome's name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Step is one thing that was done or tried.
type Step struct {
	Phase   string        `json:"phase"` // "setup", "before", "block", "blocked", "undo", "undone"
	Name    string        `json:"name"`  // "IPv4: new TCP connection to the host"
	Outcome Outcome       `json:"outcome"`
	Detail  string        `json:"detail,omitempty"`
	Took    time.Duration `json:"took"` // nanoseconds
}

// Report is all that was done.
type Report struct {
	Mechanism string        `json:"mechanism"`
	Passed    bool          `json:"passed"` // no step failed, and the proof was complete
	Started   time.Time     `json:"started"`
	Took      time.Duration `json:"took"` // nanoseconds
	Steps     []Step        `json:"steps"`
}

// Count returns how many steps came out so.
func (r *Report) Count(o Outcome) (n int) {
	for _, s := range r.Steps {
		if s.Outcome == o {
			n++
		}
	}
	return n
}

// JSON writes the report as one object.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// String prints the report for people: one line a step, then the verdict.
func (r *Report) String() string {
	var b strings.Builder
	phase := ""
	for _, s := range r.Steps {
		if s.Phase != phase {
			phase = s.Phase
			fmt.Fprintf(&b, "%s\n", phase)
		}
		fmt.Fprintf(&b, "  %-7s %7.1f ms  %s", s.Outcome, float64(s.Took.Microseconds())/1000, s.Name)
		if s.Detail != "" {
			fmt.Fprintf(&b, ": %s", strings.ReplaceAll(s.Detail, "\n", "; "))
		}
		b.WriteByte('\n')
	}
	verdict := "bites"
	switch {
	case !r.Passed:
		verdict = "does NOT bite on every path"
	case r.Count(Partly) > 0:
		verdict = "bites, with limits"
	}
	fmt.Fprintf(&b, "%s %s: %d passed, %d partly, %d failed, %d skipped, in %.1f s\n", r.Mechanism, verdict,
		r.Count(Passed), r.Count(Partly), r.Count(Failed), r.Count(Skipped), r.Took.Seconds())
	return b.String()
}
