package journal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"riposte/internal/record"
)

// Report says how the journal was found when it was opened.
type Report struct {
	Path      string
	Created   bool           // there was none
	Unchecked bool           // the integrity check ran out of time; nothing bad was seen until then
	Torn      string         // what of the write-ahead log could not be read
	Damage    string         // what was wrong with the file; "" when it was sound
	Aside     string         // where the damaged file is kept
	Kept      map[string]int // rows carried over, by table
	Retold    int            // responses in force that were lost and are known again from the audit records
	Dropped   int            // responses in force that nothing is known about but that there was one
	Gaps      []Gap          // holes that the loss left in the audit chain
}

// Words says what the operator has to know, nothing when all is well.
func (r *Report) Words() []string {
	var out []string
	if r.Torn != "" {
		out = append(out, r.Torn)
	}
	if r.Damage != "" {
		s := fmt.Sprintf("the journal was damaged (%s); %d responses in force, %d offenders, %d orders and %d audit records were carried over into a new one",
			r.Damage, r.Kept["responses"], r.Kept["offenders"], r.Kept["orders"], r.Kept["records"])
		if r.Retold > 0 {
			s += fmt.Sprintf("; %d more responses in force are known again from the audit records", r.Retold)
		}
		if r.Dropped > 0 {
			s += fmt.Sprintf("; %d responses in force are lost", r.Dropped)
		}
		if r.Aside != "" {
			s += "; the damaged file is kept as " + r.Aside
		}
		out = append(out, s)
	}
	return out
}

// tables are those of the schema, what matters most first.
func tables() []string {
	return []string{"meta", "commands", "responses", "pending", "allowed", "offenders", "positions", "orders", "records"}
}

// isDamage reports whether err means that a file cannot be read as it is, and
// that reading it again will not help.
func isDamage(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FORMAT:
		return true
	}
	return false
}

// finishRecovery takes up a recovery that a crash interrupted: the new file is
// complete once the old one is out of its way.
func finishRecovery(path string) error {
	fresh := path + ".new"
	if _, err := os.Stat(fresh); err != nil {
		return nil
	}
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Rename(fresh, path)
	}
	return removeAll(fresh)
}

func removeAll(path string) error {
	var errs []error
	for _, end := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// check looks for damage, the tables that matter most first, for no longer than
// the given time. The damage is in words; the error is for all else.
func check(conn *sql.Conn, limit time.Duration, rep *Report) (damage string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var version int
	if err := conn.QueryRowContext(context.Background(), "PRAGMA user_version").Scan(&version); err != nil || version == 0 {
		return inWords(err)
	}
	for _, t := range tables() {
		if version < len(migrations()) && t != "responses" {
			continue // made by an older schema: migrate first
		}
		found, err := quickCheck(ctx, conn, t)
		if ctx.Err() != nil {
			rep.Unchecked = true
			return "", nil
		}
		if err != nil {
			return inWords(err)
		}
		if found != "ok" {
			return found, nil
		}
	}
	return "", nil
}

func quickCheck(ctx context.Context, conn *sql.Conn, table string) (string, error) {
	var n int
	if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?", table).Scan(&n); err != nil {
		return "", err
	}
	if n == 0 {
		return "its table " + table + " is missing", nil
	}
	var found string
	err := conn.QueryRowContext(ctx, "PRAGMA quick_check("+table+")").Scan(&found)
	if first, _, more := strings.Cut(found, "\n"); more {
		found = first
	}
	return found, err
}

// inWords turns an error that means damage into words.
func inWords(err error) (string, error) {
	if err != nil && isDamage(err) {
		return err.Error(), nil
	}
	return "", err
}

// recover builds a new journal of what can be read of the damaged one, and
// then, in two renames, puts it in its place.
func recoverFrom(path, damage string, rep *Report) error {
	rep.Damage, rep.Kept = damage, map[string]int{}
	fresh := path + ".new"
	if err := removeAll(fresh); err != nil {
		return err
	}
	if err := salvage(path, fresh, rep); err != nil {
		return errors.Join(err, removeAll(fresh))
	}
	rep.Aside = path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000")
	for _, end := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(path+end, rep.Aside+end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Rename(fresh, path)
}

func salvage(from, to string, rep *Report) (err error) {
	ctx := context.Background()
	src, err := sql.Open("sqlite", record.DSN(from, "rw"))
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := sql.Open("sqlite", record.DSN(to, "rwc", "synchronous(off)"))
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, dst.Close()); err == nil {
			err = syncFile(to)
		}
	}()
	dst.SetMaxOpenConns(1)
	conn, err := dst.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	version := len(migrations())
	var was int
	if src.QueryRowContext(ctx, "PRAGMA user_version").Scan(&was) == nil && was > 0 && was < version {
		version = was
	}
	if _, err := migrate(ctx, conn, migrations()[:version]); err != nil {
		return err
	}
	for _, t := range tables() {
		n, err := copyTable(ctx, src, conn, t)
		if err != nil {
			return err
		}
		rep.Kept[t] = n
	}
	if rep.Retold, err = retell(ctx, conn); err != nil {
		return err
	}
	return tidy(ctx, conn, rep)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// copyTable copies every row that can be read: from both ends and, in tables
// with a number for a key, from behind each hole.
func copyTable(ctx context.Context, src *sql.DB, dst *sql.Conn, table string) (int, error) {
	var cols []string
	numbered := false
	rows, err := dst.QueryContext(ctx, "SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid", table)
	if err != nil {
		return 0, err
	}
	var first string
	for rows.Next() {
		var name, kind string
		var pk int
		if err := rows.Scan(&name, &kind, &pk); err != nil {
			return 0, errors.Join(err, rows.Close())
		}
		if pk == 1 {
			first, numbered = name, kind == "INTEGER"
		}
		cols = append(cols, name)
	}
	if err := rows.Close(); err != nil {
		return 0, err
	}
	if len(cols) == 0 {
		return 0, nil // not in this schema yet
	}
	if _, err := dst.ExecContext(ctx, "BEGIN"); err != nil {
		return 0, err
	}
	c := copier{src: src, table: table, cols: strings.Join(cols, ", "), width: len(cols)}
	c.put, err = dst.PrepareContext(ctx, "INSERT OR IGNORE INTO "+table+" ("+c.cols+") VALUES (?"+strings.Repeat(",?", len(cols)-1)+")")
	if err != nil {
		return 0, err
	}
	defer c.put.Close()
	err = c.run(ctx, " ORDER BY "+first)
	if c.broke && numbered && err == nil {
		err = c.skip(ctx, first)
	}
	// A damaged page may have led the way up astray: come down, too.
	if c.hurt && err == nil {
		err = c.run(ctx, " ORDER BY "+first+" DESC")
	}
	if err != nil {
		return 0, err
	}
	_, err = dst.ExecContext(ctx, "COMMIT")
	return c.n, err
}

// copier copies the rows of one table.
type copier struct {
	src         *sql.DB
	table, cols string
	width       int
	put         *sql.Stmt
	n           int
	last        int64 // first column of the last row read, when it is a number
	broke       bool  // the last run ended at damage
	hurt        bool  // any did
}

// run copies the rows of one query, up to its end or to the first that cannot
// be read. Its error is the destination's.
func (c *copier) run(ctx context.Context, tail string, args ...any) error {
	c.broke = false
	rows, err := c.src.QueryContext(ctx, "SELECT "+c.cols+" FROM "+c.table+" NOT INDEXED"+tail, args...)
	if err != nil {
		c.broke, c.hurt = true, true
		return nil
	}
	defer rows.Close()
	vals, dest := make([]any, c.width), make([]any, c.width)
	for i := range vals {
		dest[i] = &vals[i]
	}
	for rows.Next() {
		if rows.Scan(dest...) != nil {
			break
		}
		if text, ok := vals[c.width-1].([]byte); ok && !json.Valid(text) {
			continue
		}
		res, err := c.put.ExecContext(ctx, vals...)
		if err != nil {
			if code(err) == sqlite3.SQLITE_CONSTRAINT {
				continue // nonsense in a damaged page
			}
			return err
		}
		if n, err := res.RowsAffected(); err == nil {
			c.n += int(n)
		}
		if n, ok := vals[0].(int64); ok {
			c.last = n
		}
	}
	c.broke = rows.Err() != nil
	c.hurt = c.hurt || c.broke
	return nil
}

// skip reads a table with a number for a key on behind each hole, in steps that
// double until a row can be read again.
func (c *copier) skip(ctx context.Context, key string) error {
	const holes = 1000
	for range holes {
		from := c.last
		for step := int64(1); ; step *= 2 {
			if step > 1<<40 {
				return nil
			}
			before := c.last
			if err := c.run(ctx, " WHERE "+key+" > ? ORDER BY "+key, from); err != nil {
				return err
			}
			if !c.broke {
				return nil
			}
			if c.last > before {
				break
			}
			from += step
		}
	}
	return nil
}

// tidy drops what no longer makes sense alone, and finds the gaps in the chain.
func tidy(ctx context.Context, conn *sql.Conn, rep *Report) error {
	res, err := conn.ExecContext(ctx, "DELETE FROM responses WHERE def NOT IN (SELECT id FROM commands)")
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	rep.Dropped = int(n)
	rep.Kept["responses"] -= int(n)
	rep.Gaps, err = gaps(ctx, conn)
	return err
}

// gaps finds where the chain is broken.
func gaps(ctx context.Context, conn *sql.Conn) ([]Gap, error) {
	rows, err := conn.QueryContext(ctx, "SELECT seq, line FROM records ORDER BY seq")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Gap
	var first Anchor // what the first record says came before it
	var last link
	retired := false
	for rows.Next() {
		var seq int64
		var line []byte
		if err := rows.Scan(&seq, &line); err != nil {
			return nil, err
		}
		var r Record
		_ = json.Unmarshal(line, &r) // a line that is no record has no Prev and is a gap
		switch {
		case last.seq == 0:
			first = Anchor{Seq: seq - 1, Hash: r.Prev}
		case seq != last.seq+1 || r.Prev != hex.EncodeToString(last.hash[:]):
			out = append(out, Gap{last.seq, seq})
		}
		retired = retired || r.Note != nil && r.Note.Anchor != nil && *r.Note.Anchor == first
		last = link{seq: seq, hash: sha256.Sum256(line)}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if first.Seq > 0 && !retired {
		out = append([]Gap{{0, first.Seq + 1}}, out...)
	}
	// The chain goes on where it was, see readHead.
	var text string
	if conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'head'").Scan(&text) == nil {
		if head, err := parseLink(text); err == nil && head.seq > last.seq {
			out = append(out, Gap{last.seq, head.seq + 1})
		}
	}
	return out, nil
}

// noteRecovery puts on record that the journal was found damaged.
func (j *Journal) noteRecovery(rep *Report) error {
	words := rep.Words()
	if len(words) == 0 {
		return nil
	}
	return j.write(&Batch{Records: []Record{{Time: time.Now(), Note: &Note{
		Action: "recover", Text: strings.Join(words, "; "), Gaps: rep.Gaps,
	}}}})
}
