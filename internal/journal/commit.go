package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"riposte"
	"riposte/internal/record"
)

// Entry is an order made ready for the journal.
type Entry struct {
	order  *riposte.Order
	time   time.Time
	body   []byte
	Digest string // SHA-256 of the order as it is stored, for its first record
}

// NewEntry encodes an order that arrived at the given time.
func NewEntry(o *riposte.Order, now time.Time) (*Entry, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode order %s: %w", o.ID, err)
	}
	return &Entry{order: o, time: now, body: body, Digest: digest(body)}, nil
}

// Batch is what one commit writes, all or nothing.
type Batch struct {
	Orders    []*Entry
	Drop      []riposte.Key // responses that are over
	Put       []Response    // responses as they are from now on
	Change    []Change
	Shift     time.Duration // added to the end of every response: the clock was set
	Open      []string      // ids of orders under way beside those of Put
	Settle    []string      // ids of orders that are no longer
	Offenders []Offender
	Ended     map[riposte.Key]time.Time // when the answers to offenders end, which is not as it was
	Forgive   []riposte.Key             // offenders to forget
	Records   []Record                  // Seq and Prev are set by Commit
	Meta      map[string]string
}

// Empty reports whether there is nothing to write.
func (b *Batch) Empty() bool {
	return b.Shift == 0 && len(b.Orders)+len(b.Put)+len(b.Change)+len(b.Drop)+len(b.Open)+len(b.Settle)+
		len(b.Offenders)+len(b.Ended)+len(b.Forgive)+len(b.Records)+len(b.Meta) == 0
}

// Commit writes the batch in one transaction. When it returns nil the batch
// outlives the process; Sync makes it outlive the machine. Within a batch the
// fields are written from the top down.
func (j *Journal) Commit(b *Batch) error {
	if b.Empty() {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.write(b)
	if isFull(err) {
		err = j.writeTight(b, err)
	}
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	j.flush.committed()
	j.keep.written(len(b.Records))
	if j.full {
		j.spare()
	}
	return nil
}

// spare keeps the write-ahead log short while the disk is full.
func (j *Journal) spare() {
	const every = 64
	if j.tight++; j.tight%every == 0 {
		// That it failed shows in the next write.
		_, _ = j.conn.ExecContext(context.Background(), "PRAGMA wal_checkpoint(RESTART)")
	}
}

// writeTight writes when the disk is full: in the room that folding the
// write-ahead log gives back, or else in the reserve.
func (j *Journal) writeTight(b *Batch, err error) error {
	j.full = true
	for _, relief := range []func() bool{
		func() bool { return true },
		func() bool { return dropReserve(j.path) },
	} {
		if !relief() {
			continue
		}
		// That the log could not be folded shows in the next write.
		_, _ = j.conn.ExecContext(context.Background(), "PRAGMA wal_checkpoint(RESTART)")
		if err = j.write(b); !isFull(err) {
			break
		}
	}
	return err
}

// write does one transaction. The caller holds mu.
func (j *Journal) write(b *Batch) (err error) {
	if _, err := j.st.begin.Exec(); err != nil {
		return err
	}
	head := j.head
	defer func() {
		if err != nil {
			_, _ = j.st.rollback.Exec() // the cause is the error to report
			j.head = head
			clear(j.ids) // may hold what was rolled back
			j.last.id = 0
		}
	}()
	for _, e := range b.Orders {
		o := e.order
		var rule int
		var alert string
		if o.Alert != nil {
			rule, alert = o.Alert.Rule.ID, o.Alert.ID
		}
		if _, err := j.st.addOrder.Exec(o.ID, record.Nanos(e.time), o.By, rule, alert, e.body); err != nil {
			return err
		}
		j.newest = max(j.newest, o.ID)
	}
	for _, k := range b.Drop {
		if _, err := j.st.dropOne.Exec(record.Target(k.Target), k.Command); err != nil {
			return err
		}
	}
	for i := range b.Put {
		if err := j.put(&b.Put[i]); err != nil {
			return err
		}
	}
	for i := range b.Change {
		c := &b.Change[i]
		if _, err := j.st.change.Exec(int64(c.Phase), record.Nanos(c.Until), int64(c.Duration), c.Rung, c.Force, c.State, c.Trouble, record.Target(c.Key.Target), c.Key.Command); err != nil {
			return err
		}
	}
	if b.Shift != 0 {
		if _, err := j.st.shift.Exec(int64(b.Shift)); err != nil {
			return err
		}
	}
	if err := j.writeOpen(b); err != nil {
		return err
	}
	for i := range b.Offenders {
		o := &b.Offenders[i]
		if _, err := j.st.putOffender.Exec(record.Target(o.Key.Target), o.Key.Command, o.Rung, o.Count, record.Nanos(o.Last), record.Nanos(o.Until)); err != nil {
			return err
		}
	}
	for k, until := range b.Ended {
		if _, err := j.st.ended.Exec(record.Nanos(until), record.Target(k.Target), k.Command); err != nil {
			return err
		}
	}
	for _, k := range b.Forgive {
		if _, err := j.st.dropOffender.Exec(record.Target(k.Target), k.Command); err != nil {
			return err
		}
	}
	for i := range b.Records {
		if err := j.append(&b.Records[i]); err != nil {
			return err
		}
	}
	if len(b.Records) > 0 {
		if _, err := j.st.setMeta.Exec("head", j.head.String()); err != nil {
			return err
		}
	}
	for k, v := range b.Meta {
		if _, err := j.st.setMeta.Exec("x:"+k, v); err != nil {
			return err
		}
	}
	_, err = j.st.commit.Exec()
	return err
}

func (j *Journal) writeOpen(b *Batch) error {
	for _, id := range b.Open {
		if _, err := j.st.open.Exec(id); err != nil {
			return err
		}
	}
	for _, id := range b.Settle {
		if _, err := j.st.settle.Exec(id); err != nil {
			return err
		}
	}
	return nil
}

func (j *Journal) put(r *Response) error {
	def, err := j.commandID(&r.Command, r.Mechanism)
	if err != nil {
		return err
	}
	_, err = j.st.putResponse.Exec(record.Target(r.Target), r.Command.Name, def, r.Order, int64(r.Phase), record.Nanos(r.Since), record.Nanos(r.Until),
		int64(r.Duration), r.Rung, r.Force, r.State, r.Trouble, r.By, r.Rule, r.Alert)
	return err
}

// commandID is the row that holds the command as it is and its mechanism.
func (j *Journal) commandID(c *riposte.Command, mechanism string) (int64, error) {
	if l := &j.last; l.id != 0 && l.mechanism == mechanism && l.command.Name == c.Name && l.command.Executable == c.Executable &&
		slices.Equal(l.command.Expect, c.Expect) && slices.Equal(l.command.ExtraArgs, c.ExtraArgs) {
		return l.id, nil
	}
	id, err := j.findCommand(c, mechanism)
	if err == nil {
		j.last.command, j.last.mechanism, j.last.id = *c, mechanism, id
	}
	return id, err
}

func (j *Journal) findCommand(c *riposte.Command, mechanism string) (int64, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return 0, fmt.Errorf("encode command %s: %w", c.Name, err)
	}
	key := mechanism + "\x00" + string(text)
	if id, ok := j.ids[key]; ok {
		return id, nil
	}
	var id int64
	if err := j.st.findCommand.QueryRow(string(text), mechanism).Scan(&id); err != nil {
		res, err := j.st.addCommand.Exec(string(text), mechanism)
		if err != nil {
			return 0, err
		}
		if id, err = res.LastInsertId(); err != nil {
			return 0, err
		}
	}
	j.ids[key] = id
	return id, nil
}

// append adds a record to the chain within the current transaction.
func (j *Journal) append(r *Record) error {
	r.Time = r.Time.UTC().Round(0)
	line, err := j.head.add(r)
	if err != nil {
		return err
	}
	order, target := r.about()
	_, err = j.st.addLine.Exec(r.Seq, record.Nanos(r.Time), order, target, line)
	return err
}

// SetPositions notes how far sources were read, by the source's key.
func (j *Journal) SetPositions(positions map[string]string) error {
	if len(positions) == 0 {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.st.begin.Exec(); err != nil {
		return fmt.Errorf("note the sources' positions: %w", err)
	}
	for source, position := range positions {
		if _, err := j.st.setPosition.Exec(source, position); err != nil {
			_, _ = j.st.rollback.Exec() // the cause is the error to report
			return fmt.Errorf("note the position of %s: %w", source, err)
		}
	}
	if _, err := j.st.commit.Exec(); err != nil {
		_, _ = j.st.rollback.Exec() // the cause is the error to report
		return fmt.Errorf("note the sources' positions: %w", err)
	}
	j.flush.committed()
	j.keep.written(0)
	return nil
}

// Sync returns once everything committed before the call is on the disk.
func (j *Journal) Sync(ctx context.Context) error { return j.flush.wait(ctx) }
