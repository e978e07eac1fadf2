package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"riposte"
	"riposte/internal/record"
)

// retell makes responses in force that were lost with a damaged page anew, from
// the audit records: what was applied and never undone. They come back as
// Pending, since what the host has of them must be found out. It returns how
// many there were.
func retell(ctx context.Context, conn *sql.Conn) (int, error) {
	told, err := lastWords(ctx, conn)
	if err != nil {
		return 0, fmt.Errorf("retell what is in force: %w", err)
	}
	n := 0
	for k, r := range told {
		again, err := retellOne(ctx, conn, k, r)
		if err != nil {
			return n, fmt.Errorf("retell what is in force: %w", err)
		}
		if again {
			n++
		}
	}
	return n, nil
}

// lastWords returns the last receipt of every key that was applied and not
// undone since.
func lastWords(ctx context.Context, conn *sql.Conn) (map[riposte.Key]*riposte.Receipt, error) {
	rows, err := conn.QueryContext(ctx, "SELECT line FROM records WHERE ord <> '' ORDER BY seq")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	told := map[riposte.Key]*riposte.Receipt{}
	for rows.Next() {
		var line []byte
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		var rec Record
		if json.Unmarshal(line, &rec) != nil || rec.Receipt == nil {
			continue
		}
		r := rec.Receipt
		k := riposte.Key{Command: r.Command, Target: r.Target}
		switch r.Outcome {
		case riposte.Applied, riposte.Verified, riposte.Extended, riposte.Repaired:
			// What has neither an end nor a target was done, and is not in force.
			if !r.Until.IsZero() || r.Target.Kind != riposte.None {
				told[k] = r
			}
		case riposte.Undone:
			delete(told, k)
		}
	}
	return told, rows.Err()
}

// retellOne brings one response back, unless the journal has it whole.
func retellOne(ctx context.Context, conn *sql.Conn, k riposte.Key, r *riposte.Receipt) (bool, error) {
	var whole int
	if err := conn.QueryRowContext(ctx, `SELECT count(*) FROM responses WHERE target = ? AND command = ? AND def IN (SELECT id FROM commands)`,
		record.Target(k.Target), k.Command).Scan(&whole); err != nil || whole > 0 {
		return false, err
	}
	var body []byte
	err := conn.QueryRowContext(ctx, "SELECT body FROM orders WHERE id = ?", r.Order).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var o riposte.Order
	if json.Unmarshal(body, &o) != nil {
		return false, nil
	}
	command, err := json.Marshal(o.Command)
	if err != nil {
		return false, err
	}
	if _, err := conn.ExecContext(ctx, "INSERT OR IGNORE INTO commands (command, mechanism) VALUES (?,?)", string(command), r.Mechanism); err != nil {
		return false, err
	}
	duration := o.Timeout
	if r.Rung > 0 && len(o.Ladder) > 0 {
		duration = o.Ladder[min(r.Rung, len(o.Ladder))-1]
	}
	_, err = conn.ExecContext(ctx, `INSERT OR REPLACE INTO responses (target, command, def, ord, phase, since, until, duration, rung, force, state, trouble, by, rule, alert)
		SELECT ?, ?, id, ?, ?, ?, ?, ?, ?, ?, '', '', ?, ?, ? FROM commands WHERE command = ? AND mechanism = ?`,
		record.Target(k.Target), k.Command, r.Order, int64(Pending), record.Nanos(r.Time), record.Nanos(r.Until), int64(duration), r.Rung, o.Force,
		o.By, r.Rule, r.Alert, string(command), r.Mechanism)
	return err == nil, err
}
