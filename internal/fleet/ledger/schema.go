package ledger

import (
	"database/sql"
	"errors"
	"fmt"
)

// migrations returns the steps that make the schema, oldest first. The number
// of steps done is the file's user_version. A step is never changed once it was
// released: a new one is added.
func migrations() []string { return []string{schema1} }

// Times are nanoseconds since 1970, 0 for none. A target is its kind, a blank
// and its text.
const schema1 = `
CREATE TABLE positions (
	stream TEXT PRIMARY KEY,
	seq    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE orders (
	id   TEXT PRIMARY KEY,
	seq  INTEGER NOT NULL, -- in the stream of orders
	time INTEGER NOT NULL,
	body BLOB NOT NULL     -- fleet.Encode of riposte.Order
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_time ON orders (time);

-- what receipts have from their order, once for all hosts
CREATE TABLE causes (
	id      INTEGER PRIMARY KEY,
	ord     TEXT NOT NULL,
	command TEXT NOT NULL,
	target  TEXT NOT NULL,
	by      TEXT NOT NULL,
	rule    INTEGER NOT NULL,
	alert   TEXT NOT NULL,
	UNIQUE (ord, command, target, by, rule, alert)
) STRICT;
CREATE INDEX causes_target ON causes (target);

CREATE TABLE receipts (
	id        INTEGER PRIMARY KEY,
	cause     INTEGER NOT NULL,
	host      TEXT NOT NULL,
	time      INTEGER NOT NULL,
	outcome   INTEGER NOT NULL,
	mechanism TEXT NOT NULL,
	until     INTEGER NOT NULL,
	once      INTEGER NOT NULL,
	rung      INTEGER NOT NULL,
	reason    TEXT NOT NULL,
	output    TEXT NOT NULL
) STRICT;
-- a receipt that is sent twice is one
CREATE UNIQUE INDEX receipts_cause ON receipts (cause, host, time, outcome);
CREATE INDEX receipts_time ON receipts (time);

CREATE TABLE in_force (
	target    TEXT NOT NULL,
	command   TEXT NOT NULL,
	host      TEXT NOT NULL,
	cause     INTEGER NOT NULL,
	holder    TEXT NOT NULL,    -- the order that its undo will name; '' when that is not known
	mechanism TEXT NOT NULL,
	since     INTEGER NOT NULL,
	until     INTEGER NOT NULL, -- 0: until undone
	rung      INTEGER NOT NULL,
	outcome   INTEGER NOT NULL, -- of the last receipt about it
	PRIMARY KEY (target, command, host)
) STRICT, WITHOUT ROWID;
CREATE INDEX in_force_host ON in_force (host);
CREATE INDEX in_force_cause ON in_force (cause);
`

// migrate brings the file to the newest schema, each step in a transaction of
// its own.
func migrate(db *sql.DB, steps []string) error {
	var version int
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > len(steps) {
		return fmt.Errorf("it has format %d and was written by a newer riposte; this one knows formats up to %d", version, len(steps))
	}
	for ; version < len(steps); version++ {
		step := fmt.Sprintf("BEGIN IMMEDIATE; %s; PRAGMA user_version = %d; COMMIT", steps[version], version+1)
		if _, err := db.Exec(step); err != nil {
			_, _ = db.Exec("ROLLBACK") // the step's own error is the one to report
			return fmt.Errorf("bring it to format %d: %w", version+1, err)
		}
	}
	return nil
}

// statements are those of the writer.
type statements struct {
	all []*sql.Stmt

	setPosition, addOrder, findCause, addCause, addReceipt *sql.Stmt
	hold, extend, trouble, release, sweep                  *sql.Stmt
}

func (s *statements) prepare(db *sql.DB) error {
	for _, p := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&s.setPosition, `INSERT INTO positions (stream, seq) VALUES (?, ?)
			ON CONFLICT (stream) DO UPDATE SET seq = excluded.seq`},
		{&s.addOrder, `INSERT INTO orders (id, seq, time, body) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`},
		{&s.findCause, `SELECT id FROM causes WHERE ord = ? AND command = ? AND target = ? AND by = ? AND rule = ? AND alert = ?`},
		{&s.addCause, `INSERT INTO causes (ord, command, target, by, rule, alert) VALUES (?, ?, ?, ?, ?, ?)`},
		{&s.addReceipt, `INSERT INTO receipts (cause, host, time, outcome, mechanism, until, once, rung, reason, output)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`},
		{&s.hold, `INSERT INTO in_force (target, command, host, cause, holder, mechanism, since, until, rung, outcome)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (target, command, host) DO UPDATE SET
			since = CASE WHEN holder IN (excluded.holder, '') THEN since ELSE excluded.since END,
			cause = excluded.cause, holder = excluded.holder, mechanism = excluded.mechanism,
			until = excluded.until, rung = excluded.rung, outcome = excluded.outcome`},
		{&s.extend, `INSERT INTO in_force (target, command, host, cause, holder, mechanism, since, until, rung, outcome)
			VALUES (?, ?, ?, ?, '', ?, ?, ?, ?, ?) ON CONFLICT (target, command, host) DO UPDATE SET
			until = excluded.until, rung = excluded.rung, outcome = excluded.outcome`},
		{&s.trouble, `UPDATE in_force SET outcome = ? WHERE target = ? AND command = ? AND host = ? AND holder = ?`},
		{&s.release, `DELETE FROM in_force WHERE target = ? AND command = ? AND host = ? AND holder IN (?, '')`},
		{&s.sweep, `DELETE FROM in_force WHERE target = ? AND host = ? AND mechanism = ?`},
	} {
		st, err := db.Prepare(p.text)
		if err != nil {
			return err
		}
		*p.to, s.all = st, append(s.all, st)
	}
	return nil
}

func (s *statements) close() error {
	var errs []error
	for _, st := range s.all {
		errs = append(errs, st.Close())
	}
	s.all = nil
	return errors.Join(errs...)
}
