package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"riposte"
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
	t, err := parseTarget(r.target)
	if err != nil {
		return Response{}, err
	}
	d := defs[r.def]
	if d == nil {
		return Response{}, fmt.Errorf("%s has a command that is not on record (%d)", t, r.def)
	}
	return Response{
		Target: t, Command: d.command, Mechanism: d.mechanism, Order: r.order, Phase: Phase(r.phase),
		Since: at(r.since), Until: at(r.until), Duration: time.Duration(r.duration), Rung: r.rung,
		Force: r.force, State: r.state, Trouble: r.trouble, By: r.by, Rule: r.rule, Alert: r.alert,
	}, nil
}

// clause collects conditions and their arguments.
type clause struct {
	conds []string
	args  []any
}

func (c *clause) add(cond string, args ...any) {
	c.conds = append(c.conds, cond)
	c.args = append(c.args, args...)
}

func (c *clause) target(column, text string) {
	if text == "" {
		return
	}
	ts := candidates(text)
	args := make([]any, len(ts))
	for i, t := range ts {
		args[i] = t
	}
	c.add(column+" IN (?"+strings.Repeat(",?", len(ts)-1)+")", args...)
}

func (c *clause) between(column string, since, before time.Time) {
	if !since.IsZero() {
		c.add(column+" >= ?", nanos(since))
	}
	if !before.IsZero() {
		c.add(column+" < ?", nanos(before))
	}
}

func (c *clause) String() string {
	if len(c.conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.conds, " AND ")
}

func limit(n int) int {
	if n <= 0 {
		return -1
	}
	return n
}

// candidates are the targets, as the tables hold them, that a person means by
// text: the address and the prefixes around it, the user or the file.
func candidates(text string) []string {
	out := []string{}
	if t, err := riposte.ParseTarget(riposte.Address, text); err == nil {
		out = append(out, targetText(t))
		p, _ := t.Prefix()
		for bits := p.Bits() - 1; bits >= 0; bits-- {
			if wider, err := p.Addr().Prefix(bits); err == nil && !isShadow(p.Addr(), bits) {
				out = append(out, targetText(riposte.Target{Kind: riposte.Address, Value: wider.String()}))
			}
		}
		return out
	}
	if text == "-" {
		return append(out, targetText(riposte.Target{}))
	}
	for _, k := range []riposte.Kind{riposte.User, riposte.File} {
		out = append(out, targetText(riposte.Target{Kind: k, Value: text}))
	}
	return out
}

// isShadow reports prefixes so wide that no guard lets them pass.
func isShadow(a netip.Addr, bits int) bool {
	return a.Is4() && bits < 8 || a.Is6() && bits < 16
}

// InForce lists the responses in force, soonest end first, those without end
// last.
func (j *Journal) InForce(ctx context.Context, f Filter) ([]Listed, error) {
	var c clause
	c.target("target", f.Target)
	c.between("since", f.Since, f.Before)
	if f.Command != "" {
		c.add("command = ?", f.Command)
	}
	if f.Order != "" {
		c.add("ord = ?", f.Order)
	}
	if f.Rule != 0 {
		c.add("rule = ?", f.Rule)
	}
	found, err := j.responseRows(ctx, "SELECT "+strings.Join(responseColumns(), ", ")+" FROM responses"+
		c.String()+" ORDER BY until = 0, until, target LIMIT ?", append(c.args, limit(f.Limit)))
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
	var c clause
	c.target("target", f.Target)
	c.between("time", f.Since, f.Before)
	if f.Order != "" {
		if err := j.aboutOrder(ctx, &c, f.Order); err != nil {
			return nil, fmt.Errorf("read the history: %w", err)
		}
	}
	if f.Command != "" {
		c.add("json_extract(line, '$.receipt.command') = ?", f.Command)
	}
	if f.Rule != 0 {
		c.add("json_extract(line, '$.receipt.rule') = ?", f.Rule)
	}
	c.add("target <> ''")
	var out []riposte.Receipt
	err := j.records(ctx, c.String()+" ORDER BY seq DESC LIMIT ?", append(c.args, limit(f.Limit)), func(r *Record) {
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
func (j *Journal) aboutOrder(ctx context.Context, c *clause, id string) error {
	c.add("ord = ?", id)
	o, err := j.Order(ctx, id)
	switch {
	case errors.Is(err, ErrUnknown):
		return nil
	case err != nil:
		return err
	}
	if !strings.ContainsRune(o.Target.Value, utf8.RuneError) {
		c.add("target = ?", targetText(o.Target))
	}
	return nil
}

// Notes returns what people and riposte itself did beside orders, newest first.
func (j *Journal) Notes(ctx context.Context, limitTo int) ([]Record, error) {
	var out []Record
	err := j.records(ctx, " WHERE target = '' ORDER BY seq DESC LIMIT ?", []any{limit(limitTo)}, func(r *Record) { out = append(out, *r) })
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
	var c clause
	c.target("target", target)
	rows, err := j.read.QueryContext(ctx, `SELECT ord FROM (
		SELECT ord, max(seq) AS n FROM records`+c.String()+` GROUP BY ord
		UNION SELECT ord, 9223372036854775807 FROM responses`+c.String()+` AND phase = 1)
		GROUP BY ord ORDER BY max(n) DESC, ord DESC LIMIT ?`, append(append(append([]any{}, c.args...), c.args...), limit(limitTo))...)
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
		if err := j.records(ctx, c.String()+" AND ord = ? ORDER BY seq", append(slices.Clip(c.args), id), func(r *Record) {
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
