package link

import (
	"log/slog"
	"time"
)

// refusalsEvery is how often it is said that messages are refused.
const refusalsEvery = time.Minute

// refusals says which messages are refused: the first at once, what follows
// within every in one line, with how many there were and the last of them. Any
// agent can have answers of the broker delivered to all others, and must not fill
// their logs.
type refusals struct {
	log   *slog.Logger
	every time.Duration // 0: each is said
	rest  *time.Timer   // runs while the next one is only counted
	more  int
	last  []any
}

func newRefusals(log *slog.Logger, every time.Duration) *refusals {
	rest := time.NewTimer(every)
	rest.Stop() // until something is said
	return &refusals{log: log, every: every, rest: rest}
}

// add says, or counts, one refused message.
func (r *refusals) add(args ...any) {
	if r.last != nil {
		r.more, r.last = r.more+1, args
		return
	}
	r.say(args)
}

func (r *refusals) say(args []any) {
	r.log.Error("a message that claims to be the server's is refused", args...)
	if r.every > 0 {
		r.last = args
		r.rest.Reset(r.every)
	}
}

// due is when tell is to be called.
func (r *refusals) due() <-chan time.Time { return r.rest.C }

// tell says what was counted.
func (r *refusals) tell() {
	more, last := r.more, r.last
	r.more, r.last = 0, nil
	if more > 0 {
		r.say(append(last, "messages", more))
	}
}
