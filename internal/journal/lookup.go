package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"riposte"
	"riposte/internal/record"
)

// Question asks the journal about several things at once, which costs far less
// than asking one by one.
type Question struct {
	Orders    []string      // ids: was such an order received before?
	Offenders []riposte.Key // what is on record about them?
	Causes    []riposte.Key // where did these responses come from?
}

// Facts answers a Question, as of the last commit. What is not on record is not
// in the maps.
type Facts struct {
	Known     map[string]bool
	Offenders map[riposte.Key]Offender
	Causes    map[riposte.Key]Cause
}

// Ask answers a question.
func (j *Journal) Ask(q Question) (Facts, error) {
	f := Facts{
		Known:     make(map[string]bool),
		Offenders: make(map[riposte.Key]Offender),
		Causes:    make(map[riposte.Key]Cause),
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.st.read.Exec(); err != nil {
		return f, fmt.Errorf("ask the journal: %w", err)
	}
	err := j.ask(&q, &f)
	if _, end := j.st.rollback.Exec(); err == nil {
		err = end
	}
	if err != nil {
		return f, fmt.Errorf("ask the journal: %w", err)
	}
	return f, nil
}

func (j *Journal) ask(q *Question, f *Facts) error {
	for _, id := range q.Orders {
		if id > j.newest {
			continue // ids sort by time: what is newer than all on record is not among them
		}
		var n int
		switch err := j.st.known.QueryRow(id).Scan(&n); {
		case err == nil:
			f.Known[id] = true
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
	}
	for _, k := range q.Offenders {
		o := Offender{Key: k}
		var last, until int64
		switch err := j.st.offender.QueryRow(record.Target(k.Target), k.Command).Scan(&o.Rung, &o.Count, &last, &until); {
		case err == nil:
			o.Last, o.Until = record.Time(last), record.Time(until)
			f.Offenders[k] = o
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
	}
	for _, k := range q.Causes {
		var c Cause
		var since int64
		switch err := j.st.cause.QueryRow(record.Target(k.Target), k.Command).Scan(&c.Order, &since, &c.By, &c.Rule, &c.Alert); {
		case err == nil:
			c.Since = record.Time(since)
			f.Causes[k] = c
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
	}
	return nil
}

// Unsettled returns the orders that were under way, beside those with a
// response in the journal, when riposte last stopped.
func (j *Journal) Unsettled(ctx context.Context) ([]riposte.Order, error) {
	rows, err := j.read.QueryContext(ctx, "SELECT ord FROM pending ORDER BY ord")
	if err != nil {
		return nil, fmt.Errorf("list the orders under way: %w", err)
	}
	ids, err := column(rows)
	if err != nil {
		return nil, fmt.Errorf("list the orders under way: %w", err)
	}
	out := make([]riposte.Order, 0, len(ids))
	for _, id := range ids {
		o, err := j.Order(ctx, id)
		if errors.Is(err, ErrUnknown) {
			o, err = &riposte.Order{ID: id}, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, *o)
	}
	return out, nil
}

// Offenders lists offenders, the latest offence first.
func (j *Journal) Offenders(ctx context.Context, f Filter) ([]Offender, error) {
	var c record.Where
	c.Target("target", f.Target)
	c.Between("last", f.Since, f.Before)
	if f.Command != "" {
		c.Add("command = ?", f.Command)
	}
	rows, err := j.read.QueryContext(ctx, "SELECT target, command, rung, count, last, until FROM offenders"+c.String()+" ORDER BY last DESC, target LIMIT ?",
		append(c.Args, record.Limit(f.Limit))...)
	if err != nil {
		return nil, fmt.Errorf("list the offenders: %w", err)
	}
	defer rows.Close()
	var out []Offender
	for rows.Next() {
		var o Offender
		var target string
		var last, until int64
		if err := rows.Scan(&target, &o.Key.Command, &o.Rung, &o.Count, &last, &until); err != nil {
			return nil, fmt.Errorf("list the offenders: %w", err)
		}
		if o.Key.Target, err = record.ParseTarget(target); err != nil {
			return nil, fmt.Errorf("list the offenders: %w", err)
		}
		o.Last, o.Until = record.Time(last), record.Time(until)
		out = append(out, o)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list the offenders: %w", err)
	}
	return out, nil
}

// Forget removes the offenders whose last answer ended before the given time,
// and returns how many.
func (j *Journal) Forget(before time.Time) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	res, err := j.conn.ExecContext(context.Background(), "DELETE FROM offenders WHERE last < ? AND until < ?", record.Nanos(before), record.Nanos(before))
	if err != nil {
		return 0, fmt.Errorf("forget old offenders: %w", err)
	}
	j.flush.committed()
	n, err := res.RowsAffected()
	return int(n), err
}

// Counts are how many rows there are of each kind.
type Counts struct{ InForce, Offenders, Orders int }

// Count counts.
func (j *Journal) Count(ctx context.Context) (c Counts, err error) {
	err = j.read.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM responses), (SELECT count(*) FROM offenders), (SELECT count(*) FROM orders)").
		Scan(&c.InForce, &c.Offenders, &c.Orders)
	if err != nil {
		return Counts{}, fmt.Errorf("count what is on record: %w", err)
	}
	return c, nil
}

// Positions returns how far each source was read.
func (j *Journal) Positions(ctx context.Context) (map[string]string, error) {
	return j.pairs(ctx, "SELECT source, position FROM positions", "")
}

// Meta returns what Batch.Meta has set.
func (j *Journal) Meta(ctx context.Context) (map[string]string, error) {
	return j.pairs(ctx, "SELECT key, value FROM meta WHERE key LIKE 'x:%'", "x:")
}

func (j *Journal) pairs(ctx context.Context, query, prefix string) (map[string]string, error) {
	rows, err := j.read.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		out[strings.TrimPrefix(k, prefix)] = v
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return out, nil
}

// Allowed is an entry of the allow list that was added by hand.
type Allowed struct {
	Entry string    `json:"entry"`
	Until time.Time `json:"until,omitzero"` // zero: until removed
	Since time.Time `json:"since"`
	By    string    `json:"by"`
	Why   string    `json:"why,omitempty"`
}

// Allow adds or replaces an entry, with a record of who did it.
func (j *Journal) Allow(a Allowed) error {
	text := a.Entry + " is allowed until removed"
	if !a.Until.IsZero() {
		text = a.Entry + " is allowed until " + a.Until.UTC().Format(time.RFC3339)
	}
	if a.Why != "" {
		text += ": " + a.Why
	}
	return j.note(Record{Time: a.Since, Note: &Note{Action: "allow", By: a.By, Text: text}},
		"INSERT OR REPLACE INTO allowed (entry, until, since, by, why) VALUES (?,?,?,?,?)", a.Entry, record.Nanos(a.Until), record.Nanos(a.Since), a.By, a.Why)
}

// Disallow removes an entry, with a record of who did it.
func (j *Journal) Disallow(entry, by string, now time.Time) error {
	return j.note(Record{Time: now, Note: &Note{Action: "disallow", By: by, Text: entry + " is no longer allowed"}},
		"DELETE FROM allowed WHERE entry = ?", entry)
}

// note runs one statement and adds one record, in one transaction.
func (j *Journal) note(r Record, query string, args ...any) (err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.st.begin.Exec(); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	head := j.head
	defer func() {
		if err != nil {
			_, _ = j.st.rollback.Exec() // the cause is the error to report
			j.head = head
			err = fmt.Errorf("write the journal: %w", err)
		}
	}()
	if _, err := j.conn.ExecContext(context.Background(), query, args...); err != nil {
		return err
	}
	if err := j.append(&r); err != nil {
		return err
	}
	if _, err := j.st.setMeta.Exec("head", j.head.String()); err != nil {
		return err
	}
	if _, err := j.st.commit.Exec(); err != nil {
		return err
	}
	j.flush.committed()
	j.keep.written(1)
	return nil
}

// AllowList returns the entries that were added by hand, those whose time is up
// included.
func (j *Journal) AllowList(ctx context.Context) ([]Allowed, error) {
	rows, err := j.read.QueryContext(ctx, "SELECT entry, until, since, by, why FROM allowed ORDER BY entry")
	if err != nil {
		return nil, fmt.Errorf("read the allow list: %w", err)
	}
	defer rows.Close()
	var out []Allowed
	for rows.Next() {
		var a Allowed
		var until, since int64
		if err := rows.Scan(&a.Entry, &until, &since, &a.By, &a.Why); err != nil {
			return nil, fmt.Errorf("read the allow list: %w", err)
		}
		a.Until, a.Since = record.Time(until), record.Time(since)
		out = append(out, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the allow list: %w", err)
	}
	return out, nil
}
