package daemon

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"riposte"
	"riposte/internal/alertlog"
	"riposte/internal/fleet/spool"
)

// judgedPosition is the name of the position up to which an agent has judged the
// records of its spool itself.
const judgedPosition = "fleet judged"

// local is the analysis of an agent that judges for itself. What the sources read
// goes into the spool first, which both the server and this analysis read. So the
// place of an event there names it, and whatever is judged again after a crash
// has the same alerts and orders.
type local struct {
	a    *agent
	from uint64 // record up to which everything was judged before the start
}

// numberBits are the bits of an event's number that count within its record.
const numberBits = 20

// openLocal finds out how far this agent has judged, and has the spool keep what
// it has not.
func (a *agent) openLocal(stored map[string]string) error {
	last := a.spool.Last()
	l := &local{a: a, from: last} // what was read before the first such start is the server's
	if text, ok := stored[judgedPosition]; ok {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fmt.Errorf("how far this agent has judged: %w", err)
		}
		// The numbers of records that a power cut took are given again.
		l.from = min(max(n, a.spool.Acked()), last)
	}
	// On record before a record is spooled that would lie in front of a stale one.
	if err := a.d.journal.SetPositions(map[string]string{judgedPosition: strconv.FormatUint(l.from, 10)}); err != nil {
		return fmt.Errorf("store how far this agent has judged: %w", err)
	}
	if err := a.spool.Hold(l.from); err != nil {
		return err
	}
	written, err := alertlog.Tail(a.d.opt.Settings.LogDir)
	if err != nil {
		return err
	}
	a.d.alerts.Leave(written)
	a.local = l
	return nil
}

// analysed tells which records of the spool are judged here. When an agent does
// not judge any more, that is what it had judged; the server answers the rest.
func (a *agent) analysed(stored string) func(n uint64) bool {
	if a.local != nil {
		return nil
	}
	upTo, err := strconv.ParseUint(stored, 10, 64)
	if err != nil {
		upTo = 0
	}
	return func(n uint64) bool { return n <= upTo }
}

// run judges what is in the spool until collecting ends, and then what is left.
func (l *local) run(acting, collecting context.Context) error {
	batches := make(chan riposte.Batch, 4)
	ctx, end := context.WithCancel(acting)
	defer end()
	var reading sync.WaitGroup
	var failed error
	reading.Go(func() {
		defer close(batches)
		failed = l.read(ctx, collecting, batches)
	})
	err := l.a.d.pipeline.Run(ctx, batches)
	end()
	reading.Wait()
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("analysis: %w", err)
	}
	return nil
}

// read reads the records that are not judged. It waits for more of them while
// collecting goes on.
func (l *local) read(ctx, collecting context.Context, out chan<- riposte.Batch) error {
	reader := l.a.spool.NewReader()
	for after := l.from; ; {
		r, err := reader.Next(collecting, after)
		if err != nil {
			if collecting.Err() != nil {
				return nil // and nothing is left
			}
			return err
		}
		after = r.N
		b, err := l.batch(r)
		if err != nil {
			l.a.log.Warn("a record of the spool is not understood", "record", r.N, "error", err)
			continue
		}
		select {
		case out <- b:
		case <-ctx.Done():
			return nil
		}
	}
}

// batch makes events of a record. One that is not to be judged here has none.
func (l *local) batch(r spool.Record) (riposte.Batch, error) {
	b := riposte.Batch{Source: judgedPosition, Position: strconv.FormatUint(r.N, 10)}
	ev, err := l.a.codec.DecodeEvents(r.Payload)
	if err != nil || !ev.Analysed {
		return b, err
	}
	for i := range ev.Batches {
		for _, e := range ev.Batches[i].Events {
			e.Number = r.N<<numberBits | uint64(len(b.Events))
			b.Events = append(b.Events, e)
		}
	}
	if len(b.Events) > 1<<numberBits {
		return b, fmt.Errorf("%d events", len(b.Events))
	}
	return b, nil
}

// mark names this agent in alerts, as its server does.
func (l *local) mark(alerts []*riposte.Alert) {
	c := l.a.credentials
	for _, a := range alerts {
		a.Agent = riposte.Agent{ID: c.ID, Name: c.Name}
	}
}

// cause names what an order of an alert is because of, unlike any cause of the
// server's or of another agent's. The responses may have changed between a crash
// and the start after it, so it is named by the command and not by its place.
func (l *local) cause(a *riposte.Alert, orders []riposte.Order, i int) string {
	command := orders[i].Command.Name
	nth := 0
	for k := range orders[:i] {
		if orders[k].Command.Name == command {
			nth++
		}
	}
	return fmt.Sprintf("agent %s %s %s %d", l.a.credentials.ID, a.ID, command, nth)
}

// stored is told which positions are on record. The spool lets go of a record
// only when what came of it is on the disk.
func (l *local) stored(ctx context.Context, positions map[string]string) {
	text, ok := positions[judgedPosition]
	if !ok {
		return
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err == nil {
		err = l.a.d.journal.Sync(ctx)
	}
	if err == nil {
		err = l.a.spool.Hold(n)
	}
	if err != nil {
		l.a.log.Warn("events that were judged are kept until it is on record", "error", err)
	}
}

// words says how far it is.
func (l *local) words() string {
	words := "judges what it reads by its own rules, too, and answers what is for this host alone"
	judged, err := strconv.ParseUint(l.a.d.positions.all()[judgedPosition], 10, 64)
	if last := l.a.spool.Last(); err == nil && last > judged {
		words += fmt.Sprintf("; %d records of events wait for that", last-judged)
	}
	return words
}
