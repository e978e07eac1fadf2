package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"riposte"
	"riposte/internal/fleet"
	"riposte/internal/record"
)

// Issued notes orders and how far in the stream of orders they reach. Orders
// that are on record already are left as they are.
func (l *Ledger) Issued(ctx context.Context, orders []riposte.Order, upTo Place) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.transact(ctx, func(tx *sql.Tx) error {
		add := tx.StmtContext(ctx, l.st.addOrder)
		for i := range orders {
			o := &orders[i]
			body, err := fleet.Encode(o)
			if err != nil {
				return err
			}
			if _, err := add.ExecContext(ctx, o.ID, int64(upTo.Seq), record.Nanos(o.Issued), []byte(body)); err != nil {
				return err
			}
		}
		if upTo.Seq <= l.Ordered().Seq {
			return nil
		}
		return l.setPlace(ctx, tx, Orders, upTo)
	})
	if err != nil {
		return fmt.Errorf("note orders in the ledger: %w", err)
	}
	if upTo.Seq > l.Ordered().Seq {
		l.ordered.Store(&upTo)
	}
	return nil
}

// Batch is a message of the stream of receipts.
type Batch struct {
	Host     string // who sent it, whatever the receipts say
	At       Place  // in the stream
	Receipts []riposte.Receipt
}

// TakeAll notes what hosts did, messages of the stream of receipts in its order,
// all or none: when ten thousand hosts answer at once that is several times as
// fast as one by one. A message that was taken before, and a receipt that came
// before in another message, change nothing.
func (l *Ledger) TakeAll(ctx context.Context, batches []Batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	position := l.Position()
	for len(batches) > 0 && batches[0].At.Seq <= position.Seq {
		batches = batches[1:]
	}
	if len(batches) == 0 {
		return nil
	}
	err := l.transact(ctx, func(tx *sql.Tx) error {
		t := taking{l: l, ctx: ctx, tx: tx, addReceipt: tx.StmtContext(ctx, l.st.addReceipt)}
		for _, b := range batches {
			if b.At.Seq <= position.Seq {
				continue
			}
			position, t.host = b.At, b.Host
			for i := range b.Receipts {
				if err := t.take(&b.Receipts[i]); err != nil {
					return fmt.Errorf("host %s: %w", b.Host, err)
				}
			}
		}
		return l.setPlace(ctx, tx, Receipts, position)
	})
	if err != nil {
		return fmt.Errorf("note receipts in the ledger: %w", err)
	}
	l.position.Store(&position)
	return nil
}

// transact runs do in a transaction, which is all in the file or not at
// all. The caller holds mu.
func (l *Ledger) transact(ctx context.Context, do func(*sql.Tx) error) (err error) {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err = do(tx); err == nil {
		err = tx.Commit()
	}
	if err != nil {
		clear(l.causes) // may hold what is rolled back
		if undo := tx.Rollback(); undo != nil && !errors.Is(undo, sql.ErrTxDone) {
			err = errors.Join(err, undo)
		}
	}
	return err
}

// taking is one transaction of receipts.
type taking struct {
	l          *Ledger
	ctx        context.Context
	tx         *sql.Tx
	host       string
	addReceipt *sql.Stmt
}

func (t *taking) take(r *riposte.Receipt) error {
	target := record.Target(r.Target)
	id, err := t.cause(cause{order: r.Order, command: r.Command, target: target, by: r.By, rule: r.Rule, alert: r.Alert})
	if err != nil {
		return err
	}
	res, err := t.addReceipt.ExecContext(t.ctx, id, t.host, record.Nanos(r.Time), int64(r.Outcome), r.Mechanism, record.Nanos(r.Until),
		r.Once, r.Rung, r.Reason, r.Output)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err // it came before: what it told may be over
	}
	switch {
	case r.Once, t.l.gone[t.host]:
		return nil
	case r.Outcome == riposte.Applied, r.Outcome == riposte.Verified, r.Outcome == riposte.Repaired:
		return t.exec(t.l.st.hold, target, r.Command, t.host, id, r.Order, r.Mechanism, record.Nanos(r.Time), record.Nanos(r.Until), r.Rung, int64(r.Outcome))
	case r.Outcome == riposte.Extended:
		// The first order holds it still, and its undo will name that one.
		return t.exec(t.l.st.extend, target, r.Command, t.host, id, r.Mechanism, record.Nanos(r.Time), record.Nanos(r.Until), r.Rung, int64(r.Outcome))
	case r.Outcome == riposte.Failed:
		// Of an order that was never in force, or the undo of one that is.
		return t.exec(t.l.st.trouble, int64(r.Outcome), target, r.Command, t.host, r.Order)
	case r.Outcome == riposte.Undone && r.Command == "":
		// It was on the host, whose journal knew nothing of it any more.
		return t.exec(t.l.st.sweep, target, t.host, r.Mechanism)
	case r.Outcome == riposte.Undone:
		return t.exec(t.l.st.release, target, r.Command, t.host, r.Order)
	}
	return nil
}

func (t *taking) exec(st *sql.Stmt, args ...any) error {
	_, err := t.tx.StmtContext(t.ctx, st).ExecContext(t.ctx, args...)
	return err
}

// maxCauses bounds the memory of causes.
const maxCauses = 4096

// cause returns the row of a cause.
func (t *taking) cause(c cause) (int64, error) {
	if id, ok := t.l.causes[c]; ok {
		return id, nil
	}
	args := []any{c.order, c.command, c.target, c.by, c.rule, c.alert}
	var id int64
	err := t.tx.StmtContext(t.ctx, t.l.st.findCause).QueryRowContext(t.ctx, args...).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		var res sql.Result
		if res, err = t.tx.StmtContext(t.ctx, t.l.st.addCause).ExecContext(t.ctx, args...); err == nil {
			id, err = res.LastInsertId()
		}
	}
	if err != nil {
		return 0, err
	}
	if len(t.l.causes) >= maxCauses {
		clear(t.l.causes)
	}
	t.l.causes[c] = id
	return id, nil
}
