package executor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"riposte"
	"riposte/internal/journal"
)

// ErrNothing means that nothing in force is meant by a selection.
var ErrNothing = errors.New("nothing of that is in force")

// Selection names responses in force. All set fields must fit, beside Keys; the
// zero value fits nothing.
type Selection struct {
	All     bool           // everything in force
	Keys    []riposte.Key  // exactly these
	Filter  journal.Filter // an order, a rule, a command, a time span
	Target  string         // exactly this address, prefix, user or file
	Command string         // name

	Reason string // for the receipts; "": undone by hand
	// Covered says that another response goes on in place of these: offenders
	// are not let off, and the next offence meanwhile does not climb the ladder.
	Covered bool
}

// Undo takes back what is selected, at once, on behalf of by. It returns the receipts
// of what was undone, and an error that joins what could not be; that is tried
// again later. progress, if given, is told how far it has come; it must be
// quick. A response that several commands share stays until the last is undone.
func (x *Executor) Undo(ctx context.Context, s Selection, by string, progress func(done, total int)) ([]riposte.Receipt, error) {
	var keys []riposte.Key
	byJournal := s.Filter != journal.Filter{}
	if byJournal {
		list, err := x.o.Journal.InForce(ctx, s.Filter)
		if err != nil {
			return nil, err
		}
		for i := range list {
			keys = append(keys, list[i].Key())
		}
	}
	t := &tally{done: make(chan struct{}), progress: progress}
	err := x.call(ctx, func() {
		chosen := x.chosen(s, keys, byJournal)
		t.begin(len(chosen))
		x.undoAll(chosen, undoing{reason: cmp.Or(s.Reason, "undone by hand"), by: by, covered: s.Covered, tally: t})
		if (len(chosen) > 1 || s.All) && !s.Covered {
			x.note("undo", by, fmt.Sprintf("%d responses are taken back", len(chosen)))
		}
	})
	if err != nil {
		return nil, err
	}
	if t.total == 0 {
		return nil, ErrNothing
	}
	select {
	case <-t.done:
		return t.receipts, errors.Join(t.errs...)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-x.stopped:
		return nil, ErrStopped
	}
}

// undoing is what is to be taken back of one mechanism.
type undoing struct {
	holds      []*hold
	reason, by string
	covered    bool
	tally      *tally
}

// undoAll begins to take holds back, mechanism by mechanism, so that none waits
// for another, and in the order in which the journal has them: neighbours share
// its pages.
func (x *Executor) undoAll(holds []*hold, how undoing) {
	slices.SortFunc(holds, byTarget)
	byLane := map[*lane]*undoing{}
	for _, h := range holds {
		u := byLane[h.def.lane]
		if u == nil {
			one := how
			u = &one
			byLane[h.def.lane] = u
			x.undoing = append(x.undoing, u)
		}
		u.holds = append(u.holds, h)
	}
}

// undoSome takes back as many as one commit writes: these leave the host while
// the intents of the next are written.
func (x *Executor) undoSome() {
	x.undoing = slices.DeleteFunc(x.undoing, func(u *undoing) bool {
		if l := u.holds[0].def.lane; len(l.ready[undo]) >= queued {
			return false
		}
		n := min(maxTake, len(u.holds))
		for _, h := range u.holds[:n] {
			if !u.covered {
				x.letOff(h)
			}
			x.takeBack(h, u.reason, u.by, u.tally)
		}
		u.holds = u.holds[n:]
		x.more = true
		return len(u.holds) == 0
	})
}

// byTarget compares holds as the journal orders them.
func byTarget(a, b *hold) int {
	return cmp.Or(cmp.Compare(a.target.Kind.String(), b.target.Kind.String()), cmp.Compare(a.target.Value, b.target.Value))
}

// chosen are the holds that a selection means.
func (x *Executor) chosen(s Selection, keys []riposte.Key, byJournal bool) []*hold {
	var out []*hold
	fits := func(h *hold) bool {
		return (s.Command == "" || h.def.command.Name == s.Command) && (s.Target == "" || h.target.Value == s.Target)
	}
	if byJournal {
		for _, k := range keys {
			if g := x.groups[k.Command]; g != nil {
				if h := g.holds[k.Target]; h != nil && fits(h) {
					out = append(out, h)
				}
			}
		}
		return out
	}
	for _, k := range s.Keys {
		if g := x.groups[k.Command]; g != nil && g.holds[k.Target] != nil {
			out = append(out, g.holds[k.Target])
		}
	}
	if !s.All && s.Target == "" && s.Command == "" {
		return out
	}
	var want []riposte.Target
	if s.Target != "" {
		if t, err := riposte.ParseTarget(riposte.Address, s.Target); err == nil {
			want = append(want, t)
		}
		want = append(want, riposte.Target{Kind: riposte.User, Value: s.Target}, riposte.Target{Kind: riposte.File, Value: s.Target})
	}
	for _, g := range x.groups {
		if s.Command != "" && g.name != s.Command {
			continue
		}
		if s.Target == "" {
			for _, h := range g.holds {
				out = append(out, h)
			}
			continue
		}
		for _, t := range want {
			if h := g.holds[t]; h != nil {
				out = append(out, h)
			}
		}
	}
	return out
}

// endHold ends a hold: its time is up, or a person says so.
func (x *Executor) endHold(h *hold, reason, by string, t *tally) {
	x.letOff(h)
	x.takeBack(h, reason, by, t)
}

// letOff notes that an offender's answer ends now, before its time.
func (x *Executor) letOff(h *hold) {
	now := x.wall()
	if h.inForce() && h.duration > 0 && (h.until == 0 || h.until > now) {
		x.book.endOffence(x.offenderKey(h.key()), instant(now))
	}
}

// takeBack has the effect of a hold undone.
func (x *Executor) takeBack(h *hold, reason, by string, t *tally) {
	if h.over {
		if t != nil {
			x.jobDone(t)
		}
		return
	}
	now := x.wall()
	early := h.until == 0 || h.until > now
	fresh := h.phase != journal.Ending
	h.phase = journal.Ending
	x.clock.set(h, 0)
	if fresh && early {
		// A crash must not bring back what a person took away.
		x.change(h)
	}
	x.passed.end = true
	j := x.find(h, end)
	if j == nil {
		if tr, ok := x.troubles[h]; ok && by == "" && tr.reason != "" {
			reason, by = tr.reason, tr.by // tried again on the same behalf
		}
		j = &job{kind: end, place: h.place(), hold: h, reason: reason, by: by, free: !fresh || !early}
		x.push(j)
	}
	if t != nil {
		j.tallies = append(j.tallies, t)
	}
}

// due ends the holds whose time is up and tries again what could not be undone.
func (x *Executor) due() {
	const lot = 2000
	now := x.wall()
	for range lot {
		if len(x.clock) == 0 || x.clock[0].at > now {
			return
		}
		h := x.clock[0]
		if h.phase == journal.Pending && (h.until == 0 || h.until > now) {
			x.clock.set(h, 0)
			x.adopt(h, false)
			continue
		}
		x.endHold(h, "its time is up", "", nil)
	}
	x.more = true
}

// Forgive forgets the offences of what is selected, so that the next one counts
// as the first, and returns how many offenders that were.
func (x *Executor) Forgive(ctx context.Context, f journal.Filter, by string) (int, error) {
	list, err := x.o.Journal.Offenders(ctx, f)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	err = x.call(ctx, func() {
		for _, o := range list {
			x.book.forgive = append(x.book.forgive, o.Key)
			delete(x.book.offenders, o.Key)
			x.known.put(o.Key, nil)
		}
		x.note("forgive", by, fmt.Sprintf("%d offenders are forgiven, %s first", len(list), list[0].Key.Target))
	})
	return len(list), err
}

// tally counts the jobs behind one request. It belongs to the executor's
// goroutine until done is closed.
type tally struct {
	total, left int
	receipts    []riposte.Receipt
	errs        []error
	progress    func(done, total int)
	done        chan struct{}
}

func (t *tally) begin(n int) {
	t.total, t.left = n, n
	if n == 0 {
		close(t.done)
	}
}

// jobDone counts a job. Whoever waits is told once what came of it is written.
func (x *Executor) jobDone(t *tally) {
	t.left--
	if t.progress != nil {
		t.progress(t.total-t.left, t.total)
	}
	if t.left == 0 {
		x.tallied = append(x.tallied, t)
	}
}
