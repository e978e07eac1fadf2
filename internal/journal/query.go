package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"riposte"
	"riposte/internal/record"
)

// Filter narrows a query. The zero value takes everything.
type Filter struct {
	Target  string    // text of any kind of target; an address also finds the prefixes that cover it
	Command string    // name
	Order   string    // id
	Rule    int       // of the alert behind it
	Since   time.Time // not before
	Before  time.Time // not at or after
	Limit   int       // 0: no limit
}

// Listed is a response in force with where it came from.
type Listed struct {
	Response
	Cause Cause
}

// Load calls do with every response in the journal, in no order. It serves the
// start, which needs only what is in force: Order, Since, By, Rule and Alert are
// left out.
func (j *Journal) Load(ctx context.Context, do func(*Response) error) error {
	return j.load(ctx, 9, "", do)
}

// LoadOrders is Load with Order, By and Rule.
func (j *Journal) LoadOrders(ctx context.Context, do func(*Response) error) error {
	return j.load(ctx, 12, "", do)
}

// LoadIPv6 is LoadOrders for addresses and prefixes of IPv6 alone.
func (j *Journal) LoadIPv6(ctx context.Context, do func(*Response) error) error {
	return j.load(ctx, 12, " WHERE target GLOB 'address *:*'", do)
}

// load reads the first so many of responseColumns.
func (j *Journal) load(ctx context.Context, columns int, where string, do func(*Response) error) error {
	defs, err := j.commands(ctx)
	if err != nil {
		return fmt.Errorf("load the responses in force: %w", err)
	}
	rows, err := j.read.QueryContext(ctx, "SELECT "+strings.Join(responseColumns()[:columns], ", ")+" FROM responses"+where)
	if err != nil {
		return fmt.Errorf("load the responses in force: %w", err)
	}
	defer rows.Close()
	var row responseRow
	dest := row.dest()[:columns]
	last := "" // most come from the rule that the one before came from
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return fmt.Errorf("load the responses in force: %w", err)
		}
		r, err := row.response(defs)
		if err != nil {
			return fmt.Errorf("load the responses in force: %w", err)
		}
		if r.By == last {
			r.By = last
		}
		last = r.By
		if err := do(&r); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("load the responses in force: %w", err)
	}
	return nil
}

// definition is a row of commands.
type definition struct {
	command   riposte.Command
	mechanism string
}

func (j *Journal) commands(ctx context.Context) (map[int64]*definition, error) {
	rows, err := j.read.QueryContext(ctx, "SELECT id, command, mechanism FROM commands")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[int64]*definition{}
	for rows.Next() {
		var id int64
		var text string
		d := &definition{}
		if err := rows.Scan(&id, &text, &d.mechanism); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(text), &d.command); err != nil {
			return nil, fmt.Errorf("command %d: %w", id, err)
		}
		out[id] = d
	}
	return out, rows.Err()
}

// responseRow takes a row of responses.
type responseRow struct {
	target, order, state, trouble string
	def, phase                    int64
	since, until, duration        int64
	rung                          int
	force                         bool
	by, alert                     string
	rule                          int
}

// responseColumns are the columns that go to dest, what the start needs first.
func responseColumns() []string {
	return []string{"target", "def", "phase", "until", "duration", "rung", "force", "state", "trouble", "ord", "by", "rule", "since", "alert"}
}

func (r *responseRow) dest() []any {
	return []any{&r.target, &r.def, &r.phase, &r.until, &r.duration, &r.rung, &r.force, &r.state, &r.trouble, &r.order, &r.by, &r.rule, &r.since, &r.alert}
}

func (r *responseRow) response(defs map[int64]*definition) (Response, error) {
	t, err := record.ParseTarget(r.target)
	if err != nil {
		return Response{}, err
	}
	d := defs[r.def]
	if d == nil {
		return Response{}, fmt.Errorf("%s has a command that is not on record (%d)", t, r.def)
	}
	return Response{
		Target: t, Command: d.command, Mechanism: d.mechanism, Order: r.order, Phase: Phase(r.phase),
		Since: record.Time(r.since), Until: record.Time(r.until), Duration: time.Duration(r.duration), Rung: r.rung,
		Force: r.force, State: r.state, Trouble: r.trouble, By: r.by, Rule: r.rule, Alert: r.alert,
	}, nil
}

// InForce lists the responses in force, soonest end first, those without end
// last.
func (j *Journal) InForce(ctx context.Context, f Filter) ([]Listed, error) {
	var c record.Where
	c.Target("target", f.Target)
	c.Between("since", f.Since, f.Before)
	if f.Command != "" {
		c.Add("command = ?", f.Command)
	}
	if f.Order != "" {
		c.Add("ord = ?", f.Order)
	}
	if f.Rule != 0 {
		c.Add("rule = ?", f.Rule)
	}
	found, err := j.responseRows(ctx, "SELECT "+strings.Join(responseColumns(), ", ")+" FROM responses"+
		c.String()+" ORDER BY until = 0, until, target LIMIT ?", append(c.Args, record.Limit(f.Limit)))
	if err != nil {
		return nil, fmt.Errorf("list the responses in force: %w", err)
	}
	// After the rows: whatever they refer to is there by now.
	defs, err := j.commands(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the responses in force: %w", err)
	}
	out := make([]Listed, 0, len(found))
	for i := range found {
		r, err := found[i].response(defs)
		if err != nil {
			return nil, fmt.Errorf("list the responses in force: %w", err)
		}
		out = append(out, Listed{Response: r, Cause: Cause{Order: r.Order, Since: r.Since, By: r.By, Rule: r.Rule, Alert: r.Alert}})
	}
	return out, nil
}

// responseRows reads rows of responses.
func (j *Journal) responseRows(ctx context.Context, query string, args []any) ([]responseRow, error) {
	rows, err := j.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []responseRow
	for rows.Next() {
		var row responseRow
		if err := rows.Scan(row.dest()...); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, rows.Err()
}

// History returns receipts, newest first.
func (j *Journal) History(ctx context.Context, f Filter) ([]riposte.Receipt, error) {
	var c record.Where
	c.Target("target", f.Target)
	c.Between("time", f.Since, f.Before)
	if f.Order != "" {
		if err := j.aboutOrder(ctx, &c, f.Order); err != nil {
			return nil, fmt.Errorf("read the history: %w", err)
		}
	}
	if f.Command != "" {
		c.Add("json_extract(line, '$.receipt.command') = ?", f.Command)
	}
	if f.Rule != 0 {
		c.Add("json_extract(line, '$.receipt.rule') = ?", f.Rule)
	}
	c.Add("target <> ''")
	var out []riposte.Receipt
	err := j.records(ctx, c.String()+" ORDER BY seq DESC LIMIT ?", append(c.Args, record.Limit(f.Limit)), func(r *Record) {
		if r.Receipt != nil {
			out = append(out, *r.Receipt)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	return out, nil
}

// aboutOrder narrows records to those about an order. They are found by its
// target. Without a target to go by, every record is looked at: the order is no
// longer on record, or its target is a file whose name JSON cannot hold.
func (j *Journal) aboutOrder(ctx context.Context, c *record.Where, id string) error {
	c.Add("ord = ?", id)
	o, err := j.Order(ctx, id)
	switch {
	case errors.Is(err, ErrUnknown):
		return nil
	case err != nil:
		return err
	}
	if !strings.ContainsRune(o.Target.Value, utf8.RuneError) {
		c.Add("target = ?", record.Target(o.Target))
	}
	return nil
}

// Notes returns what people and riposte itself did beside orders, newest first.
func (j *Journal) Notes(ctx context.Context, limitTo int) ([]Record, error) {
	var out []Record
	err := j.records(ctx, " WHERE target = '' ORDER BY seq DESC LIMIT ?", []any{record.Limit(limitTo)}, func(r *Record) { out = append(out, *r) })
	if err != nil {
		return nil, fmt.Errorf("read the audit notes: %w", err)
	}
	return out, nil
}

func (j *Journal) records(ctx context.Context, where string, args []any, do func(*Record)) error {
	rows, err := j.read.QueryContext(ctx, "SELECT seq, line FROM records"+where, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		var line []byte
		if err := rows.Scan(&seq, &line); err != nil {
			return err
		}
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("record %d: %w", seq, err)
		}
		do(&r)
	}
	return rows.Err()
}

// Story is one order with all its receipts, oldest first.
type Story struct {
	Order    riposte.Order
	Receipts []riposte.Receipt
}

// Why tells the stories of a target, newest first: each order with the alert
// behind it and what became of it. An order that is no longer kept is told by
// its receipts alone.
func (j *Journal) Why(ctx context.Context, target string, limitTo int) ([]Story, error) {
	var c record.Where
	c.Target("target", target)
	rows, err := j.read.QueryContext(ctx, `SELECT ord FROM (
		SELECT ord, max(seq) AS n FROM records`+c.String()+` GROUP BY ord
		UNION SELECT ord, 9223372036854775807 FROM responses`+c.String()+` AND phase = 1)
		GROUP BY ord ORDER BY max(n) DESC, ord DESC LIMIT ?`, append(append(append([]any{}, c.Args...), c.Args...), record.Limit(limitTo))...)
	if err != nil {
		return nil, fmt.Errorf("tell why: %w", err)
	}
	ids, err := column(rows)
	if err != nil {
		return nil, fmt.Errorf("tell why: %w", err)
	}
	var out []Story
	for _, id := range ids {
		s := Story{Order: riposte.Order{ID: id}}
		if id != "" {
			if o, err := j.Order(ctx, id); err == nil {
				s.Order = *o
			} else if !errors.Is(err, ErrUnknown) {
				return nil, err
			}
		}
		// An empty id is what was found on the host without an order.
		if err := j.records(ctx, c.String()+" AND ord = ? ORDER BY seq", append(slices.Clip(c.Args), id), func(r *Record) {
			if r.Receipt != nil {
				s.Receipts = append(s.Receipts, *r.Receipt)
			}
		}); err != nil {
			return nil, fmt.Errorf("tell why: %w", err)
		}
		out = append(out, s)
	}
	return out, nil
}

func column(rows *sql.Rows) ([]string, error) {
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// ErrUnknown means that the journal has no such order.
var ErrUnknown = errors.New("no such order on record")

// Order returns an order as it was received, or ErrUnknown.
func (j *Journal) Order(ctx context.Context, id string) (*riposte.Order, error) {
	var body []byte
	err := j.body.QueryRowContext(ctx, id).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("order %s: %w", id, ErrUnknown)
	}
	if err != nil {
		return nil, fmt.Errorf("read order %s: %w", id, err)
	}
	o := &riposte.Order{}
	if err := json.Unmarshal(body, o); err != nil {
		return nil, fmt.Errorf("read order %s: %w", id, err)
	}
	return o, nil
}
