package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"riposte/internal/record"
)

// lot is how many rows are removed in one transaction, so that TakeAll never waits
// long.
const lot = 2000

// Prune removes what is older than before: receipts, the orders that nothing
// tells of any more, and responses whose time was over by then, on hosts that
// never told. It goes lot by lot, so that it can end with ctx at any time, and
// returns how many receipts are gone.
func (l *Ledger) Prune(ctx context.Context, before time.Time) (receipts int, err error) {
	for _, query := range []string{oldInForce, oldReceipts, oldOrders} {
		n, err := l.inLots(ctx, query, record.Nanos(before))
		if query == oldReceipts {
			receipts = n
		}
		if err != nil {
			return receipts, fmt.Errorf("prune the ledger: %w", err)
		}
	}
	return receipts, nil
}

const (
	oldInForce = `DELETE FROM in_force WHERE (target, command, host) IN
		(SELECT target, command, host FROM in_force WHERE until > 0 AND until < ? LIMIT ?) RETURNING cause`
	oldReceipts = `DELETE FROM receipts WHERE id IN
		(SELECT id FROM receipts WHERE time < ? ORDER BY time LIMIT ?) RETURNING cause`
	oldOrders = `DELETE FROM orders WHERE id IN (SELECT id FROM orders o WHERE time < ?
		AND NOT EXISTS (SELECT 1 FROM causes WHERE ord = o.id) ORDER BY time LIMIT ?) RETURNING 0`
	onHosts = `DELETE FROM in_force WHERE (target, command, host) IN
		(SELECT target, command, host FROM in_force WHERE host IN (SELECT value FROM json_each(?)) LIMIT ?) RETURNING cause`
)

// inLots runs a deletion lot by lot until nothing is left to delete, and returns
// of how many rows.
func (l *Ledger) inLots(ctx context.Context, query string, arg any) (rows int, err error) {
	for n := lot; n == lot; rows += n {
		if n, err = l.oneLot(ctx, query, arg); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

func (l *Ledger) oneLot(ctx context.Context, query string, arg any) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err = l.transact(ctx, func(tx *sql.Tx) error {
		n, err = l.remove(ctx, tx, query, arg, lot)
		return err
	})
	return n, err
}

// Forget removes what was in force on hosts that are no longer of the fleet, and
// lets nothing come into force there by receipts that are taken later. Receipts
// stay on record, those that are taken later too.
func (l *Ledger) Forget(ctx context.Context, hosts ...string) error {
	ids, err := json.Marshal(hosts)
	if err != nil {
		return err
	}
	l.mu.Lock()
	for _, h := range hosts {
		l.gone[h] = true
	}
	l.mu.Unlock()
	if _, err := l.inLots(ctx, onHosts, string(ids)); err != nil {
		return fmt.Errorf("forget what is in force on hosts that are removed: %w", err)
	}
	return nil
}

// remove runs a deletion that returns causes, and removes those that nothing
// refers to any more.
func (l *Ledger) remove(ctx context.Context, tx *sql.Tx, query string, args ...any) (int, error) {
	causes, n, err := deleted(ctx, tx, query, args...)
	if err != nil {
		return 0, err
	}
	ids, err := json.Marshal(causes)
	if err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM causes WHERE id IN (SELECT value FROM json_each(?))
		AND NOT EXISTS (SELECT 1 FROM receipts WHERE cause = causes.id)
		AND NOT EXISTS (SELECT 1 FROM in_force WHERE cause = causes.id)`, string(ids)); err != nil {
		return 0, err
	}
	clear(l.causes)
	return n, nil
}

// deleted runs a deletion that returns causes: which, and of how many rows.
func deleted(ctx context.Context, tx *sql.Tx, query string, args ...any) (causes []int64, n int, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	seen := map[int64]bool{}
	for ; rows.Next(); n++ {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, 0, err
		}
		if !seen[id] {
			seen[id] = true
			causes = append(causes, id)
		}
	}
	return causes, n, rows.Err()
}
