package journal

import (
	"fmt"
	"time"

	"riposte"
)

// Phase says how far a response in the journal has come.
type Phase uint8

// The phases. A Pending response is an intent: its effect may or may not be on
// the host. A Held one is in force. An Ending one is being taken back.
const (
	Pending Phase = iota + 1
	Held
	Ending
)

func (p Phase) String() string {
	switch p {
	case Pending:
		return "applying"
	case Held:
		return "in force"
	case Ending:
		return "undoing"
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// Response is one response in force on this host, on its way in, or on its way
// out. Its key is unique.
type Response struct {
	Target    riposte.Target
	Command   riposte.Command // as it was when it was carried out
	Mechanism string
	Order     string // id of the order that caused it
	Phase     Phase
	Since     time.Time     // of the order's arrival
	Until     time.Time     // zero: until undone
	Duration  time.Duration // what each trigger is answered with; 0: without end
	Rung      int           // of the ladder
	Force     bool          // ordered past the guard
	State     string        // the mechanism's, for undo
	Trouble   string        // why it could not be taken back, "" when nothing is wrong
	By        string        // as in the order
	Rule      int           // of the alert behind it
	Alert     string        // id
}

// Key is what is unique: the command's name and the target.
func (r *Response) Key() riposte.Key {
	return riposte.Key{Command: r.Command.Name, Target: r.Target}
}

// Change is what may change about a response that is in the journal.
type Change struct {
	Key      riposte.Key
	Phase    Phase
	Until    time.Time
	Duration time.Duration
	Rung     int
	Force    bool
	State    string
	Trouble  string
}

// Offender is a target that was answered with a timed response of a command.
type Offender struct {
	Key   riposte.Key
	Rung  int       // of the last offence: 0 for the first
	Count int       // offences so far
	Last  time.Time // offence
	Until time.Time // when the answer to it ends or ended
}

// Cause is where a response in force came from.
type Cause struct {
	Order string // id
	Since time.Time
	By    string
	Rule  int
	Alert string // id
}
