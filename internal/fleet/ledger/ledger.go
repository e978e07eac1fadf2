// Package ledger is what a server knows of all hosts: what was ordered, what
// each host did about it, and what is in force where. It is one SQLite file,
// written from the streams of orders and receipts, and knows how far in them it
// got: a ledger that is lost is written again from what the streams still hold.
//
// It is about what hosts have told. A host that is away may have done more: it
// undoes on time, and tells when it is back.
package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"riposte/internal/record"
)

// ErrUnknown means that the ledger has no such order.
var ErrUnknown = errors.New("no such order on record")

// Ledger is safe for concurrent use. Writers take turns, readers wait for
// nobody.
type Ledger struct {
	path  string
	aside string
	db    *sql.DB // the writer's one connection
	read  *sql.DB

	mu       sync.Mutex // of the writer
	st       statements
	causes   map[cause]int64       // those met lately, by their row
	gone     map[string]bool       // hosts that Forget was told
	position atomic.Pointer[Place] // in the stream of receipts
	ordered  atomic.Pointer[Place] // in the stream of orders
}

// Place is where in a stream a message is, and when the broker stored it: another
// message in that place is another stream, or the stream has lost its end. The
// zero time is of a place that an older riposte noted.
type Place struct {
	Seq  uint64
	Time time.Time
}

// The streams that a ledger is written from.
const (
	Receipts = "receipts"
	Orders   = "orders"
)

// cause is what a receipt has from its order. A fan-out to ten thousand hosts
// has one.
type cause struct {
	order, command, target, by, alert string
	rule                              int
}

// Open opens the ledger at path, making it if need be. A damaged one is put
// aside (see Aside) and begun anew.
func Open(path string) (*Ledger, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the ledger's folder: %w", err)
	}
	l := &Ledger{path: path, gone: map[string]bool{}}
	err := l.open()
	if isDamage(err) {
		if err = l.putAside(); err == nil {
			err = l.open()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the ledger %s: %w", path, errors.Join(err, l.Close()))
	}
	return l, nil
}

// Aside is where a damaged ledger was put when this one was opened; "" when
// there was none.
func (l *Ledger) Aside() string { return l.aside }

// Position is the place of the last batch of receipts taken.
func (l *Ledger) Position() Place { return *l.position.Load() }

// Ordered is the highest place that Issued was told.
func (l *Ledger) Ordered() Place { return *l.ordered.Load() }

// Rewind has a stream taken from its beginning again: it does not hold what was
// taken last. What is on record stays, and what comes again changes nothing.
func (l *Ledger) Rewind(ctx context.Context, stream string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM positions WHERE stream IN (?, ?)", stream, stream+timeOf)
		return err
	})
	if err != nil {
		return fmt.Errorf("begin the ledger's %s again: %w", stream, err)
	}
	l.place(stream).Store(&Place{})
	return nil
}

// timeOf ends the name of a position that holds when a message was stored, in
// nanoseconds since 1970.
const timeOf = " time"

func (l *Ledger) place(stream string) *atomic.Pointer[Place] {
	if stream == Orders {
		return &l.ordered
	}
	return &l.position
}

// setPlace notes how far a stream was taken.
func (l *Ledger) setPlace(ctx context.Context, tx *sql.Tx, stream string, p Place) error {
	set := tx.StmtContext(ctx, l.st.setPosition)
	if _, err := set.ExecContext(ctx, stream, int64(p.Seq)); err != nil {
		return err
	}
	_, err := set.ExecContext(ctx, stream+timeOf, record.Nanos(p.Time))
	return err
}

// Close closes the ledger.
func (l *Ledger) Close() error {
	var errs []error
	errs = append(errs, l.st.close())
	for _, db := range []*sql.DB{l.read, l.db} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	l.read, l.db = nil, nil
	return errors.Join(errs...)
}

// checkTime bounds the look for damage at the start.
const checkTime = 250 * time.Millisecond

func (l *Ledger) open() error {
	l.causes = map[cause]int64{}
	var err error
	// What a power cut takes from the end is in the streams still.
	if l.db, err = sql.Open("sqlite", record.DSN(l.path, "rwc", "busy_timeout(5000)", "journal_mode(wal)", "synchronous(normal)",
		"temp_store(memory)", "cache_size(-16000)", "wal_autocheckpoint(4000)")+"&_txlock=immediate"); err != nil {
		return err
	}
	l.db.SetMaxOpenConns(1)
	if err := check(l.db); err != nil {
		return err
	}
	if err := migrate(l.db, migrations()); err != nil {
		return err
	}
	if l.read, err = sql.Open("sqlite", record.DSN(l.path, "rw", "busy_timeout(5000)", "query_only(1)", "cache_size(-8000)")); err != nil {
		return err
	}
	l.read.SetMaxOpenConns(3)
	if err := l.st.prepare(l.db); err != nil {
		return err
	}
	for _, stream := range []string{Receipts, Orders} {
		var seq, ns int64
		if err := l.db.QueryRow(`SELECT coalesce(max(seq) FILTER (WHERE stream = ?1), 0), coalesce(max(seq) FILTER (WHERE stream = ?2), 0)
			FROM positions`, stream, stream+timeOf).Scan(&seq, &ns); err != nil {
			return err
		}
		l.place(stream).Store(&Place{Seq: uint64(seq), Time: record.Time(ns)})
	}
	return nil
}

// check looks for damage for a moment.
func check(db *sql.DB) error {
	ctx, cancel := context.WithTimeout(context.Background(), checkTime)
	defer cancel()
	var found string
	err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found)
	if ctx.Err() != nil {
		return nil // nothing bad was seen until then
	}
	if err == nil && found != "ok" {
		err = damage(found)
	}
	return err
}

// damage is what quick_check found.
type damage string

func (d damage) Error() string { return string(d) }

func isDamage(err error) bool {
	var d damage
	var e *sqlite.Error
	switch {
	case errors.As(err, &d):
		return true
	case errors.As(err, &e):
		c := e.Code() & 0xff
		return c == sqlite3.SQLITE_CORRUPT || c == sqlite3.SQLITE_NOTADB
	}
	return false
}

// putAside renames the damaged files.
func (l *Ledger) putAside() error {
	if err := l.Close(); err != nil && !isDamage(err) {
		return err
	}
	l.aside = l.path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000")
	for _, end := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(l.path+end, l.aside+end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
