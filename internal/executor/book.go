package executor

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/journal"
)

// The bounds on what waits for a journal that cannot be written.
const (
	maxBacklog = 100_000 // records
	maxOrders  = 10_000
)

// book is what the next commit writes. While the journal cannot be written it
// grows only by what there is to know: one row for each response.
type book struct {
	orders    []*journal.Entry
	rows      map[riposte.Key]row
	opened    []string
	closed    []string
	offenders map[riposte.Key]journal.Offender
	ended     map[riposte.Key]time.Time
	forgive   []riposte.Key
	records   []journal.Record
	meta      map[string]string

	fresh []*hold // whose cause is in the journal once this is written
	lost  int     // records dropped
}

// row is what becomes of a response's row: it is written whole, changed in
// part, or, with neither, dropped.
type row struct {
	put    *journal.Response
	change *journal.Change
}

func newBook() book {
	return book{
		rows: map[riposte.Key]row{}, offenders: map[riposte.Key]journal.Offender{},
		ended: map[riposte.Key]time.Time{}, meta: map[string]string{},
	}
}

// put writes a hold whole. It has its cause.
func (b *book) put(h *hold, trouble string) {
	b.rows[h.key()] = row{put: &journal.Response{
		Target: h.target, Command: h.def.command, Mechanism: h.def.lane.mech.Name(), Order: h.cause.Order, Phase: h.phase,
		By: h.cause.By, Rule: h.cause.Rule, Alert: h.cause.Alert, Since: h.cause.Since, Until: instant(h.until), Duration: time.Duration(h.duration), Rung: int(h.rung), Force: h.force,
		State: h.state, Trouble: trouble,
	}}
}

// change writes what may have changed about a hold.
func (b *book) change(h *hold, trouble string) {
	if h.over {
		return
	}
	k := h.key()
	if r, ok := b.rows[k]; ok && r.put != nil {
		p := r.put
		p.Phase, p.Until, p.Duration, p.Rung, p.Force, p.State, p.Trouble =
			h.phase, instant(h.until), time.Duration(h.duration), int(h.rung), h.force, h.state, trouble
		return
	}
	b.rows[k] = row{change: &journal.Change{
		Key: k, Phase: h.phase, Until: instant(h.until), Duration: time.Duration(h.duration), Rung: int(h.rung), Force: h.force,
		State: h.state, Trouble: trouble,
	}}
}

func (b *book) drop(k riposte.Key) { b.rows[k] = row{} }

func (b *book) empty() bool {
	return len(b.orders)+len(b.rows)+len(b.opened)+len(b.closed)+len(b.offenders)+len(b.ended)+len(b.forgive)+len(b.records)+len(b.meta) == 0
}

func (b *book) batch() *journal.Batch {
	out := &journal.Batch{
		Orders: b.orders, Open: b.opened, Settle: b.closed, Ended: b.ended, Forgive: b.forgive, Records: b.records, Meta: b.meta,
	}
	for k, r := range b.rows {
		switch {
		case r.put != nil:
			out.Put = append(out.Put, *r.put)
		case r.change != nil:
			out.Change = append(out.Change, *r.change)
		default:
			out.Drop = append(out.Drop, k)
		}
	}
	for _, o := range b.offenders {
		out.Offenders = append(out.Offenders, o)
	}
	return out
}

// commit writes the book. When the journal cannot be written, the book is kept
// and tried again later, and what must not be done unwritten is not done.
func (x *Executor) commit() error {
	if x.book.empty() {
		return nil
	}
	x.facts = journal.Facts{} // what is written now is not in them
	now := time.Now()
	if x.unwritten != nil && now.Before(x.rewrite) {
		return x.unwritten
	}
	err := x.o.Journal.Commit(x.book.batch())
	if err != nil {
		if x.unwritten == nil {
			x.o.Log.Error("the journal cannot be written; packet filters go on, all else that has to be undone is refused", "error", err)
		}
		x.unwritten, x.rewrite = err, now.Add(time.Second)
		if n := len(x.book.records) - maxBacklog; n > 0 {
			x.book.records, x.book.lost = x.book.records[n:], x.book.lost+n
		}
		if n := len(x.book.orders) - maxOrders; n > 0 {
			x.book.orders = x.book.orders[n:]
		}
		return err
	}
	if x.unwritten != nil {
		x.o.Log.Info("the journal is written again", "records_lost", x.book.lost)
		x.unwritten = nil
	}
	x.known.written(&x.book)
	for _, h := range x.book.fresh {
		if h.phase != journal.Pending && !h.over {
			h.cause = nil
		}
	}
	x.book = newBook()
	return nil
}

// failUnwritten fails the jobs of this cycle that must not be done without
// their intent in the journal: what a crash would leave on the host for good.
// A mechanism that can list what it holds is mended by the next start.
func (x *Executor) failUnwritten(err error) {
	for _, j := range slices.Clone(x.pushed) {
		if j.kind == begin && j.place.lane.lister == nil && len(j.claims) > 0 {
			j.started = true
			x.settle(j, &enforce.Result{Err: fmt.Errorf("%w: %w", errWritten, err)}, true)
		}
	}
}

// say puts a receipt on record and tells it once the record is written.
func (x *Executor) say(r riposte.Receipt, digest string, a *answers, index int) riposte.Receipt {
	r.Host, r.Time = x.o.Host, x.now()
	if !x.happened.IsZero() {
		r.Time = x.happened.UTC()
	}
	x.book.records = append(x.book.records, journal.Record{Time: x.now(), Receipt: &r, Digest: digest})
	x.out = append(x.out, outgoing{receipt: r, answers: a, index: index})
	return r
}

// note puts on record what a person or the executor did beside orders.
func (x *Executor) note(action, by, text string) {
	x.book.records = append(x.book.records, journal.Record{Time: x.now(), Note: &journal.Note{Action: action, By: by, Text: text}})
}

// outgoing is a receipt on its way out.
type outgoing struct {
	receipt riposte.Receipt
	answers *answers
	index   int
	silent  bool // was told before
}

// deliver tells the receipts of the cycle and answers those who wait.
func (x *Executor) deliver(err error) {
	for i := range x.out {
		if !x.out[i].silent {
			x.tell.add(x.out[i].receipt)
		}
		x.out[i].answers.set(x.out[i].index, x.out[i].receipt)
	}
	clear(x.out)
	x.out = x.out[:0]
	for _, s := range x.acks {
		s.written <- err
	}
	clear(x.acks)
	x.acks = x.acks[:0]
	for _, t := range x.tallied {
		close(t.done)
	}
	clear(x.tallied)
	x.tallied = x.tallied[:0]
}

// maxTold bounds the receipts that wait for Notify.
const maxTold = 1 << 16

// teller passes receipts on, so that who is told may take his time.
type teller struct {
	notify func(riposte.Receipt)
	wg     sync.WaitGroup
	wake   chan struct{}
	done   chan struct{}

	mu      sync.Mutex
	queue   []riposte.Receipt
	telling bool // receipts taken off the queue
	missed  uint64
}

func newTeller(notify func(riposte.Receipt)) *teller {
	return &teller{notify: notify, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

func (t *teller) start() {
	if t.notify != nil {
		t.wg.Go(t.run)
	}
}

// stop tells what is left and returns.
func (t *teller) stop() {
	close(t.done)
	t.wg.Wait()
}

func (t *teller) add(r riposte.Receipt) {
	if t.notify == nil {
		return
	}
	t.mu.Lock()
	if len(t.queue) < maxTold {
		t.queue = append(t.queue, r)
	} else {
		t.missed++
	}
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// quiet reports whether all that there is to tell was told.
func (t *teller) quiet() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.telling && len(t.queue) == 0
}

func (t *teller) run() {
	for last := false; ; {
		t.mu.Lock()
		queue := t.queue
		t.queue, t.telling = nil, len(queue) > 0
		t.mu.Unlock()
		for _, r := range queue {
			t.notify(r)
		}
		if last && len(queue) == 0 {
			return
		}
		if last || len(queue) > 0 {
			continue
		}
		select {
		case <-t.wake:
		case <-t.done:
			last = true
		}
	}
}
