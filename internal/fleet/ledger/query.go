package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"riposte"
	"riposte/internal/fleet"
	"riposte/internal/record"
)

// Filter narrows a query. The zero value takes everything.
type Filter struct {
	Target  string // text of any kind of target; an address also finds the prefixes that cover it
	Command string // name
	Host    string // id
	Order   string // id
	Rule    int
	Since   time.Time // not before
	Before  time.Time // not at or after
	Limit   int       // 0: no limit
}

// Entry is a response that is in force on a host, as far as the host has told.
type Entry struct {
	Host      string          `json:"host"`
	Order     string          `json:"order"`
	Command   string          `json:"command"`
	Target    riposte.Target  `json:"target"`
	Mechanism string          `json:"mechanism"`
	Since     time.Time       `json:"since"`
	Until     time.Time       `json:"until,omitzero"` // zero: until undone
	Rung      int             `json:"rung"`
	Outcome   riposte.Outcome `json:"outcome"` // of the last receipt about it; failed: it could not be undone yet
	By        string          `json:"by"`
	Rule      int             `json:"rule,omitempty"`
	Alert     string          `json:"alert,omitempty"`
}

// InForce lists what is in force where, by target and host. Since and Before
// are about when it came into force.
func (l *Ledger) InForce(ctx context.Context, f Filter) ([]Entry, error) {
	var c record.Where
	c.Target("f.target", f.Target)
	c.Text("f.command", f.Command)
	c.Text("f.host", f.Host)
	c.Text("c.ord", f.Order)
	common(&c, f, "f.since")
	rows, err := l.read.QueryContext(ctx, `SELECT f.host, c.ord, f.command, f.target, f.mechanism, f.since, f.until, f.rung, f.outcome, c.by, c.rule, c.alert
		FROM in_force f JOIN causes c ON c.id = f.cause`+c.String()+" ORDER BY f.target, f.command, f.host LIMIT ?", append(c.Args, record.Limit(f.Limit))...)
	if err != nil {
		return nil, fmt.Errorf("list what is in force: %w", err)
	}
	defer rows.Close()
	var out []Entry
	for rows.Next() {
		var e Entry
		var target string
		var since, until int64
		if err := rows.Scan(&e.Host, &e.Order, &e.Command, &target, &e.Mechanism, &since, &until, &e.Rung, &e.Outcome, &e.By, &e.Rule, &e.Alert); err != nil {
			return nil, fmt.Errorf("list what is in force: %w", err)
		}
		if e.Target, err = record.ParseTarget(target); err != nil {
			return nil, fmt.Errorf("list what is in force: %w", err)
		}
		e.Since, e.Until = record.Time(since), record.Time(until)
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list what is in force: %w", err)
	}
	return out, nil
}

// Receipts returns receipts, newest first.
func (l *Ledger) Receipts(ctx context.Context, f Filter) ([]riposte.Receipt, error) {
	out, err := l.receipts(ctx, f, "r.time DESC, r.id DESC")
	if err != nil {
		return nil, fmt.Errorf("list receipts: %w", err)
	}
	return out, nil
}

// ByOrder returns all receipts of an order in the order they came in.
func (l *Ledger) ByOrder(ctx context.Context, id string) ([]riposte.Receipt, error) {
	out, err := l.receipts(ctx, Filter{Order: id}, "r.id")
	if err != nil {
		return nil, fmt.Errorf("list the receipts of order %s: %w", id, err)
	}
	return out, nil
}

func (l *Ledger) receipts(ctx context.Context, f Filter, order string) ([]riposte.Receipt, error) {
	var c record.Where
	c.Target("c.target", f.Target)
	c.Text("c.command", f.Command)
	c.Text("r.host", f.Host)
	c.Text("c.ord", f.Order)
	common(&c, f, "r.time")
	rows, err := l.read.QueryContext(ctx, `SELECT c.ord, r.host, r.time, r.outcome, c.command, c.target, r.mechanism, r.until, r.once, r.rung,
		r.reason, r.output, c.by, c.rule, c.alert FROM receipts r JOIN causes c ON c.id = r.cause`+c.String()+
		" ORDER BY "+order+" LIMIT ?", append(c.Args, record.Limit(f.Limit))...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []riposte.Receipt
	for rows.Next() {
		var r riposte.Receipt
		var target string
		var when, until int64
		if err := rows.Scan(&r.Order, &r.Host, &when, &r.Outcome, &r.Command, &target, &r.Mechanism, &until, &r.Once, &r.Rung,
			&r.Reason, &r.Output, &r.By, &r.Rule, &r.Alert); err != nil {
			return nil, err
		}
		if r.Target, err = record.ParseTarget(target); err != nil {
			return nil, err
		}
		r.Time, r.Until = record.Time(when), record.Time(until)
		out = append(out, r)
	}
	return out, rows.Err()
}

// Progress counts the hosts that told about an order by what they told last.
func (l *Ledger) Progress(ctx context.Context, id string) (map[riposte.Outcome]int, error) {
	// Of a group's bare columns SQLite gives those of the row with the maximum.
	rows, err := l.read.QueryContext(ctx, `SELECT outcome, count(*) FROM (SELECT r.outcome, max(r.id)
		FROM receipts r JOIN causes c ON c.id = r.cause WHERE c.ord = ? GROUP BY r.host) GROUP BY outcome`, id)
	if err != nil {
		return nil, fmt.Errorf("count the receipts of order %s: %w", id, err)
	}
	defer rows.Close()
	out := map[riposte.Outcome]int{}
	for rows.Next() {
		var o riposte.Outcome
		var n int
		if err := rows.Scan(&o, &n); err != nil {
			return nil, fmt.Errorf("count the receipts of order %s: %w", id, err)
		}
		out[o] = n
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count the receipts of order %s: %w", id, err)
	}
	return out, nil
}

// Order returns an order as it was issued, or ErrUnknown.
func (l *Ledger) Order(ctx context.Context, id string) (*riposte.Order, error) {
	var body []byte
	err := l.read.QueryRowContext(ctx, "SELECT body FROM orders WHERE id = ?", id).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrUnknown
	}
	o := &riposte.Order{}
	if err == nil {
		err = fleet.Decode(body, o)
	}
	if err != nil {
		return nil, fmt.Errorf("read order %s: %w", id, err)
	}
	return o, nil
}

// common adds what queries of both tables may ask for.
func common(c *record.Where, f Filter, times string) {
	if f.Rule != 0 {
		c.Add("c.rule = ?", f.Rule)
	}
	c.Between(times, f.Since, f.Before)
}
