// Package api is the control interface of a running riposte: plain HTTP with
// JSON bodies on the socket that host.ListenControl makes, and its client. It
// decides nothing: every call ends in the Control that the daemon hands in.
package api

import (
	"context"
	"time"

	"riposte"
)

// Control is what the daemon offers to its faces: the command line today,
// consoles later.
type Control interface {
	Status(ctx context.Context) (Status, error)
	// InForce returns the responses in force, soonest end first, those without
	// end last.
	InForce(ctx context.Context, f Filter) ([]Block, error)
	// History returns receipts, newest first.
	History(ctx context.Context, f Filter) ([]riposte.Receipt, error)
	// Why tells what led to everything done about a target.
	Why(ctx context.Context, target string) (Why, error)
	Block(ctx context.Context, r BlockRequest) ([]riposte.Receipt, error)
	Unblock(ctx context.Context, r UnblockRequest) ([]riposte.Receipt, error)
	// Flush takes everything in force back and tells progress, if it is not nil,
	// how far it has come; that must be quick.
	Flush(ctx context.Context, r FlushRequest, progress func(Progress)) (Flushed, error)
	Offenders(ctx context.Context, f Filter) ([]Offender, error)
	Forgive(ctx context.Context, r UnblockRequest) (int, error)
	// Arm puts everything done from now on on trial: without Confirm in time it
	// is taken back.
	Arm(ctx context.Context, r ArmRequest) error
	Confirm(ctx context.Context, r ArmRequest) (was bool, err error)
	// Pause stops new responses until resumed; undos go on.
	Pause(ctx context.Context, r PauseRequest) (was bool, err error)
	// Doctor compares the host with the journal.
	Doctor(ctx context.Context, r DoctorRequest) (Diagnosis, error)
	// Allow adds or removes an entry of the allow list, or only lists it.
	Allow(ctx context.Context, r AllowRequest) (Allowed, error)
	// Reload reads configuration and rules again; on any error the old stay.
	Reload(ctx context.Context) (Reloaded, error)

	FleetControl
}

// Status is the state of the daemon in figures and words.
type Status struct {
	Version   string     `json:"version"`
	Role      string     `json:"role,omitempty"`  // server, agent; "": neither
	Fleet     []string   `json:"fleet,omitempty"` // the state of the link, in words
	Host      string     `json:"host"`
	Mode      string     `json:"mode"` // enforce or observe
	Reason    string     `json:"reason,omitempty"`
	Dialect   string     `json:"dialect"`
	Since     time.Time  `json:"since"`
	Config    string     `json:"config"`
	Rules     string     `json:"rules"`
	Sources   []Source   `json:"sources"`
	Responses []Response `json:"responses"`
	Guard     []string   `json:"guard"`
	InForce   int        `json:"in_force"`
	Offenders int        `json:"offenders"`
	Events    uint64     `json:"events"` // since start
	Alerts    uint64     `json:"alerts"`
	Orders    uint64     `json:"orders"`
	Refused   uint64     `json:"refused"`
	Problems  []string   `json:"problems,omitempty"`
}

// Source is one input of the daemon.
type Source struct {
	Name   string `json:"name"`
	Detail string `json:"detail,omitempty"`
	Events uint64 `json:"events"`
	Error  string `json:"error,omitempty"`
}

// Response is one armed response.
type Response struct {
	Command   string `json:"command"`
	Mechanism string `json:"mechanism"`
	Words     string `json:"words"`
	Problem   string `json:"problem,omitempty"`
}

// Block is one response in force on a host.
type Block struct {
	Order     string         `json:"order"`
	Host      string         `json:"host"`
	Command   string         `json:"command"`
	Target    riposte.Target `json:"target"`
	Mechanism string         `json:"mechanism"`
	State     string         `json:"state"` // in force, applying, undoing, undo failing
	Since     time.Time      `json:"since"`
	Until     time.Time      `json:"until,omitzero"` // zero: no end
	Rung      int            `json:"rung"`
	By        string         `json:"by"`
	Rule      int            `json:"rule,omitempty"`
	Alert     string         `json:"alert,omitempty"`
	Reason    string         `json:"reason,omitempty"`
	Addresses int            `json:"addresses,omitempty"` // of a prefix that was made of many blocks: how many
}

// Offender is a target that was answered at least once with a timed response.
type Offender struct {
	Command  string         `json:"command"`
	Target   riposte.Target `json:"target"`
	Offences int            `json:"offences"`
	Rung     int            `json:"rung"` // of the last offence
	Last     time.Time      `json:"last"`
}

// Why is everything on record about one target, newest order first.
type Why struct {
	Target riposte.Target `json:"target"`
	Orders []WhyOrder     `json:"orders"`
}

// WhyOrder is one order about a target with its cause and its consequences.
type WhyOrder struct {
	Order    riposte.Order     `json:"order"`
	Receipts []riposte.Receipt `json:"receipts"`
}

// Filter narrows a list. The zero value takes everything, up to a sane limit.
type Filter struct {
	Target  string `json:"target,omitempty"`
	Command string `json:"command,omitempty"`
	Limit   int    `json:"limit,omitempty"`
}

// Asker is who made a request that is put on record. The server sets it, by who
// is connected; what a client writes there is not sent.
type Asker struct {
	By string `json:"-"`
}

func (a *Asker) from(peer string) { a.By = peer }

// BlockRequest asks for a response by hand.
type BlockRequest struct {
	Target  string        `json:"target"`
	Command string        `json:"command,omitempty"` // default: the first that acts on such a target
	Where   string        `json:"where,omitempty"`   // "": here; all, an agent's id or name, group:NAME, label:KEY=VALUE
	For     time.Duration `json:"for,omitempty"`     // 0: until undone
	Force   bool          `json:"force,omitempty"`   // pass the guard, audited
	Asker
}

// UnblockRequest names what is to be taken back. Order wins over Target;
// Command narrows Target.
type UnblockRequest struct {
	Target  string `json:"target,omitempty"`
	Command string `json:"command,omitempty"`
	Order   string `json:"order,omitempty"`
	All     bool   `json:"all,omitempty"`
	Forgive bool   `json:"forgive,omitempty"` // forget the offences too
	Where   string `json:"where,omitempty"`   // as in BlockRequest
	Asker
}

// ArmRequest asks for a trial, or confirms it.
type ArmRequest struct {
	For time.Duration `json:"for,omitempty"`
	Asker
}

// PauseRequest asks to pause or to resume.
type PauseRequest struct {
	Resume bool   `json:"resume,omitempty"`
	Why    string `json:"why,omitempty"`
	Asker
}

// DoctorRequest asks for a comparison of the host with the journal.
type DoctorRequest struct {
	Repair bool `json:"repair,omitempty"`
}

// Diagnosis is what the comparison found.
type Diagnosis struct {
	Checked int      `json:"checked"` // effects compared
	Drift   []Drift  `json:"drift"`
	Skipped []string `json:"skipped,omitempty"` // mechanisms that cannot say what they hold
	Errors  []string `json:"errors,omitempty"`
}

// Drift is one difference between the host and the journal.
type Drift struct {
	Mechanism string         `json:"mechanism"`
	Target    riposte.Target `json:"target"`
	Words     string         `json:"words"`
	Mended    bool           `json:"mended,omitempty"`
}

// AllowRequest changes the allow list. Without an entry it only lists.
type AllowRequest struct {
	Entry  string        `json:"entry,omitempty"` // address, prefix or host name
	Remove bool          `json:"remove,omitempty"`
	For    time.Duration `json:"for,omitempty"` // 0: for good
	Why    string        `json:"why,omitempty"`
	Asker
}

// Allowed is the part of the allow list that was added by hand.
type Allowed struct {
	Entries  []AllowEntry `json:"entries"`
	Released int          `json:"released,omitempty"` // responses that the change took back
}

// AllowEntry is one entry.
type AllowEntry struct {
	Entry string    `json:"entry"`
	Until time.Time `json:"until,omitzero"` // zero: for good
	Since time.Time `json:"since"`
	By    string    `json:"by"`
	Why   string    `json:"why,omitempty"`
}

// Reloaded says what a reload changed.
type Reloaded struct {
	Config   string   `json:"config"`
	Rules    string   `json:"rules"`
	Findings []string `json:"findings,omitempty"`
}

// Error is what the server answers when it cannot do what was asked.
type Error struct {
	Status  int    `json:"-"`
	Message string `json:"error"`
	Hint    string `json:"hint,omitempty"`
}

func (e *Error) Error() string {
	if e.Hint != "" {
		return e.Message + " (" + e.Hint + ")"
	}
	return e.Message
}
