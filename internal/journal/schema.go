package journal

import (
	"context"
	"database/sql"
	"fmt"
)

// migrations returns the steps that make the schema, oldest first. The number
// of steps done is the file's user_version. A step is never changed once it was
// released: a new one is added.
func migrations() []string {
	return []string{schema1, schema2}
}

// The first schema. The tables are strict, so that no damaged page can bring a
// value of a wrong type into a recovered journal. Times are nanoseconds since 1970, 0 for none. A target is
// its kind, a blank and its text.
const schema1 = `
CREATE TABLE meta (
	key   TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- a command as it was when it was carried out, and by which mechanism
CREATE TABLE commands (
	id        INTEGER PRIMARY KEY,
	command   TEXT NOT NULL, -- JSON of riposte.Command
	mechanism TEXT NOT NULL,
	UNIQUE (command, mechanism)
) STRICT;

-- what is in force, on its way in or on its way out
CREATE TABLE responses (
	target   TEXT NOT NULL,
	command  TEXT NOT NULL,    -- name
	def      INTEGER NOT NULL, -- commands.id
	ord      TEXT NOT NULL,    -- orders.id
	phase    INTEGER NOT NULL,
	since    INTEGER NOT NULL,
	until    INTEGER NOT NULL, -- 0: until undone
	duration INTEGER NOT NULL, -- nanoseconds that one offence is answered with
	rung     INTEGER NOT NULL,
	force    INTEGER NOT NULL,
	state    TEXT NOT NULL,    -- the mechanism's, for undo
	trouble  TEXT NOT NULL,    -- why it could not be undone
	by       TEXT NOT NULL,    -- as in the order, so that it need not be read
	rule     INTEGER NOT NULL,
	alert    TEXT NOT NULL,
	PRIMARY KEY (target, command)
) STRICT, WITHOUT ROWID;

CREATE TABLE orders (
	seq   INTEGER PRIMARY KEY,
	id    TEXT NOT NULL UNIQUE,
	time  INTEGER NOT NULL,
	by    TEXT NOT NULL,
	rule  INTEGER NOT NULL,
	alert TEXT NOT NULL, -- id
	body  BLOB NOT NULL  -- JSON of riposte.Order
) STRICT;

-- orders under way that no row of responses stands for
CREATE TABLE pending (
	ord TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE offenders (
	target  TEXT NOT NULL,
	command TEXT NOT NULL,
	rung    INTEGER NOT NULL,
	count   INTEGER NOT NULL,
	last    INTEGER NOT NULL, -- offence
	until   INTEGER NOT NULL, -- end of the answer to it
	PRIMARY KEY (target, command)
) STRICT, WITHOUT ROWID;
CREATE INDEX offenders_last ON offenders (last);

-- the audit chain; line is the record, byte for byte as it was hashed
CREATE TABLE records (
	seq    INTEGER PRIMARY KEY,
	time   INTEGER NOT NULL,
	ord    TEXT NOT NULL,
	target TEXT NOT NULL,
	line   BLOB NOT NULL
) STRICT;
CREATE INDEX records_ord ON records (ord, seq);
CREATE INDEX records_target ON records (target, seq);

CREATE TABLE positions (
	source   TEXT PRIMARY KEY,
	position TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- what was allowed by hand, beside the configured list
CREATE TABLE allowed (
	entry TEXT PRIMARY KEY,
	until INTEGER NOT NULL, -- 0: until removed
	since INTEGER NOT NULL,
	by    TEXT NOT NULL,
	why   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`

// The second schema finds the records about an order by its target: an index
// over the ids of orders took a tenth of the time of every burst, for a question
// that only people ask.
const schema2 = `DROP INDEX records_ord`

// migrate brings the file to the newest schema, each step in a transaction of
// its own. made reports whether the file was empty before.
func migrate(ctx context.Context, conn *sql.Conn, steps []string) (made bool, err error) {
	var version int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return false, err
	}
	if version > len(steps) {
		return false, fmt.Errorf("it has format %d and was written by a newer riposte; this one knows formats up to %d", version, len(steps))
	}
	made = version == 0
	for ; version < len(steps); version++ {
		step := fmt.Sprintf("BEGIN IMMEDIATE; %s; PRAGMA user_version = %d; COMMIT", steps[version], version+1)
		if _, err := conn.ExecContext(ctx, step); err != nil {
			_, _ = conn.ExecContext(ctx, "ROLLBACK") // the step's own error is the one to report
			return false, fmt.Errorf("bring it to format %d: %w", version+1, err)
		}
	}
	return made, nil
}

// statements are the writer's prepared statements.
type statements struct {
	begin, read, commit, rollback      *sql.Stmt
	addOrder, putResponse, dropOne     *sql.Stmt
	putOffender, dropOffender, addLine *sql.Stmt
	change, shift, ended, open, settle *sql.Stmt
	setMeta, setPosition, addCommand   *sql.Stmt
	findCommand, offender, known       *sql.Stmt
	cause, newest                      *sql.Stmt
	all                                []*sql.Stmt
}

func prepare(ctx context.Context, conn *sql.Conn) (*statements, error) {
	s := &statements{}
	for _, p := range []struct {
		to  **sql.Stmt
		sql string
	}{
		{&s.begin, "BEGIN IMMEDIATE"},
		{&s.read, "BEGIN DEFERRED"},
		{&s.commit, "COMMIT"},
		{&s.rollback, "ROLLBACK"},
		{&s.addOrder, "INSERT OR IGNORE INTO orders (id, time, by, rule, alert, body) VALUES (?,?,?,?,?,?)"},
		{&s.putResponse, "INSERT OR REPLACE INTO responses (target, command, def, ord, phase, since, until, duration, rung, force, state, trouble, by, rule, alert) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"},
		{&s.dropOne, "DELETE FROM responses WHERE target = ? AND command = ?"},
		{&s.change, "UPDATE responses SET phase = ?, until = ?, duration = ?, rung = ?, force = ?, state = ?, trouble = ? WHERE target = ? AND command = ?"},
		{&s.shift, "UPDATE responses SET until = until + ? WHERE until <> 0"},
		{&s.ended, "UPDATE offenders SET until = ? WHERE target = ? AND command = ?"},
		{&s.open, "INSERT OR IGNORE INTO pending (ord) VALUES (?)"},
		{&s.settle, "DELETE FROM pending WHERE ord = ?"},
		{&s.putOffender, "INSERT OR REPLACE INTO offenders (target, command, rung, count, last, until) VALUES (?,?,?,?,?,?)"},
		{&s.dropOffender, "DELETE FROM offenders WHERE target = ? AND command = ?"},
		{&s.addLine, "INSERT INTO records (seq, time, ord, target, line) VALUES (?,?,?,?,?)"},
		{&s.setMeta, "INSERT OR REPLACE INTO meta (key, value) VALUES (?,?)"},
		{&s.setPosition, "INSERT OR REPLACE INTO positions (source, position) VALUES (?,?)"},
		{&s.addCommand, "INSERT INTO commands (command, mechanism) VALUES (?,?)"},
		{&s.findCommand, "SELECT id FROM commands WHERE command = ? AND mechanism = ?"},
		{&s.offender, "SELECT rung, count, last, until FROM offenders WHERE target = ? AND command = ?"},
		{&s.known, "SELECT 1 FROM orders WHERE id = ?"},
		{&s.newest, "SELECT max(id) FROM orders"},
		{&s.cause, "SELECT ord, since, by, rule, alert FROM responses WHERE target = ? AND command = ?"},
	} {
		st, err := conn.PrepareContext(ctx, p.sql)
		if err != nil {
			s.close()
			return nil, err
		}
		*p.to = st
		s.all = append(s.all, st)
	}
	return s, nil
}

func (s *statements) close() {
	for _, st := range s.all {
		_ = st.Close() // the connection goes with it
	}
}
