package riposte

import (
	"fmt"
	"time"
)

// Outcome is what became of an order on one host.
type Outcome uint8

// The outcomes. Refused, Failed and Expired orders left no effect behind.
const (
	Refused  Outcome = iota + 1 // the guard said no, or the host cannot do it
	Applied                     // the effect was asked for and nothing objected
	Verified                    // the effect was read back from the host
	Extended                    // already in force: its clock was restarted
	Failed                      // the effect could not be had
	Undone                      // taken back
	Repaired                    // the effect had gone missing and was put back
	Expired                     // the order's time was over before it arrived
	Observed                    // would have been applied; this host only observes
)

var outcomeNames = [...]string{1: "refused", "applied", "verified", "extended", "failed", "undone", "repaired", "expired", "observed"}

func (o Outcome) String() string {
	if o > 0 && int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// MarshalText writes the outcome's name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads an outcome's name.
func (o *Outcome) UnmarshalText(b []byte) error {
	for i, n := range outcomeNames {
		if i > 0 && n == string(b) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("unknown outcome %q", b)
}

// Receipt is what one host did about one order, in words an operator can read.
type Receipt struct {
	Order     string    `json:"order"` // Order.ID
	Host      string    `json:"host"`  // agent id, "000" for the server
	Time      time.Time `json:"time"`
	Outcome   Outcome   `json:"outcome"`
	Command   string    `json:"command"`
	Target    Target    `json:"target"`
	Mechanism string    `json:"mechanism,omitempty"` // "nftables", "script firewall-drop.sh", …
	Until     time.Time `json:"until,omitzero"`      // when it will be undone; zero: never
	Once      bool      `json:"once,omitempty"`      // carried out once, and nothing to undo
	Rung      int       `json:"rung,omitempty"`      // of the ladder: 0 first offence
	Reason    string    `json:"reason,omitempty"`    // why refused, failed, undone
	Output    string    `json:"output,omitempty"`    // what a script printed, bounded
	By        string    `json:"by,omitempty"`        // as in the order, or who undid it
	Rule      int       `json:"rule,omitempty"`
	Alert     string    `json:"alert,omitempty"` // Alert.ID
}
