// Package journal is riposte's durable memory: what is in force on this host,
// who offended how often, how far each source was read, which addresses were
// allowed by hand, and an append-only, hash-chained record of everything that
// was ordered, done, refused and undone.
//
// It is one SQLite file with a write-ahead log. A commit reaches the operating
// system, so it outlives the process, but not at once the disk: that takes
// Sync, which shares one flush among all who wait for it. Effects that vanish
// with the kernel (packet filter entries, routes) need no more than the commit;
// effects that outlive a power cut (files, accounts, whatever a script does)
// wait for Sync. Everything is flushed a moment later in any case.
//
// The journal decides nothing. What its rows mean is the executor's business.
package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"riposte"
	"riposte/internal/record"
)

// ErrInUse means that another process writes this journal.
var ErrInUse = errors.New("the journal is in use by another riposte")

// Options bound what a journal keeps and how it starts. The zero value has the
// defaults.
type Options struct {
	MaxRecords int           // audit records kept; 0 for 1,000,000, negative without bound
	MaxAge     time.Duration // of audit records; 0 without bound
	CheckTime  time.Duration // spent on the integrity check at start; 0 for 100 ms
	Reserve    int           // bytes of disk held back for the day it is full; 0 for 8 MiB, negative none
}

const (
	defaultMaxRecords = 1_000_000
	defaultCheckTime  = 100 * time.Millisecond
	defaultReserve    = 8 << 20
)

// Journal is an open journal. It is safe for concurrent use; writers take turns,
// readers wait for nobody.
type Journal struct {
	path string
	o    Options
	lock *sql.DB // holds the lock file, nil when opened for reading
	db   *sql.DB // the writer's one connection and the housekeeper's
	read *sql.DB
	body *sql.Stmt // of an order, by its id, on read

	mu   sync.Mutex // of the writer: everything down to full
	conn *sql.Conn
	st   *statements
	head link
	ids  map[string]int64 // command JSON and mechanism → row of commands
	last struct {         // the command that was looked up last
		command   riposte.Command
		mechanism string
		id        int64 // 0: none
	}
	newest string // no order on record has a greater id
	full   bool   // the disk was full at the last attempt, or riposte lives on its reserve

	tight int // commits since it is full

	flush *flusher
	keep  *housekeeper
	close func() error // once
}

// Open opens the journal at path, making it and its folder if need be. It never
// gives up on a damaged file: what can be read of it is carried over into a new
// one, the damaged one is kept beside it, and the report says what was lost.
func Open(path string, o Options) (*Journal, *Report, error) {
	o = o.withDefaults()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the journal's folder: %w", err)
	}
	lock, err := takeLock(path + ".lock")
	if err != nil {
		return nil, nil, err
	}
	j := &Journal{path: path, o: o, lock: lock, ids: map[string]int64{}}
	j.close = sync.OnceValue(j.shut)
	rep, err := j.open()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open the journal %s: %w", path, err), j.Close())
	}
	return j, rep, nil
}

// open connects, mends what is damaged, and starts.
func (j *Journal) open() (*Report, error) {
	rep := &Report{Path: j.path}
	if err := finishRecovery(j.path); err != nil {
		return nil, err
	}
	var err error
	if rep.Torn, err = scanLog(j.path + "-wal"); err != nil {
		return nil, err
	}
	damage, err := inWords(j.connect())
	if err == nil && damage == "" {
		damage, err = check(j.conn, j.o.CheckTime, rep)
	}
	if err != nil {
		return nil, err
	}
	if damage != "" {
		if err := j.disconnect(); err != nil && !isDamage(err) {
			return nil, err
		}
		if err := recoverFrom(j.path, damage, rep); err != nil {
			return nil, fmt.Errorf("it is damaged (%s), and recovering it failed: %w", damage, err)
		}
		if err := j.connect(); err != nil {
			return nil, err
		}
	}
	return rep, j.start(rep)
}

func (o Options) withDefaults() Options {
	if o.MaxRecords == 0 {
		o.MaxRecords = defaultMaxRecords
	}
	if o.CheckTime == 0 {
		o.CheckTime = defaultCheckTime
	}
	if o.Reserve == 0 {
		o.Reserve = defaultReserve
	}
	return o
}

// OpenReading opens a journal for queries only, whether or not a riposte is
// running on it.
func OpenReading(path string) (*Journal, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	j := &Journal{path: path}
	j.close = sync.OnceValue(j.shut)
	var err error
	if j.read, err = openRead(path); err != nil {
		return nil, fmt.Errorf("open the journal %s: %w", path, err)
	}
	var version int
	if err := j.read.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return nil, errors.Join(fmt.Errorf("open the journal %s: %w", path, err), j.Close())
	}
	if n := len(migrations()); version != n {
		return nil, errors.Join(fmt.Errorf("open the journal %s: it has format %d, this riposte reads format %d", path, version, n), j.Close())
	}
	if err := j.prepareRead(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the journal %s: %w", path, err), j.Close())
	}
	return j, nil
}

// connect opens the writer's connection.
func (j *Journal) connect() error {
	ctx := context.Background()
	var err error
	if j.db, err = sql.Open("sqlite", record.DSN(j.path, "rwc", "busy_timeout(5000)", "temp_store(memory)", "cache_size(-4000)")); err != nil {
		return err
	}
	if j.conn, err = j.db.Conn(ctx); err != nil {
		return err
	}
	var mode string
	if err := j.conn.QueryRowContext(ctx, "PRAGMA journal_mode=WAL").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the file system cannot hold a write-ahead log (journal mode %s)", mode)
	}
	_, err = j.conn.ExecContext(ctx, "PRAGMA wal_autocheckpoint=0")
	return err
}

// disconnect undoes connect.
func (j *Journal) disconnect() error {
	var errs []error
	if j.conn != nil {
		errs = append(errs, j.conn.Close())
	}
	if j.db != nil {
		errs = append(errs, j.db.Close())
	}
	j.conn, j.db = nil, nil
	return errors.Join(errs...)
}

// start migrates, prepares and begins the background work.
func (j *Journal) start(rep *Report) error {
	ctx := context.Background()
	// This first transaction is flushed whole, with the folder's entries; all
	// later ones are flushed through flusher.
	if _, err := j.conn.ExecContext(ctx, "PRAGMA synchronous=FULL"); err != nil {
		return err
	}
	made, err := migrate(ctx, j.conn, migrations())
	if err != nil {
		return err
	}
	rep.Created = made
	if err := j.readHead(ctx); err != nil {
		return err
	}
	if j.st, err = prepare(ctx, j.conn); err != nil {
		return err
	}
	var newest sql.NullString
	if err := j.st.newest.QueryRow().Scan(&newest); err != nil {
		return err
	}
	j.newest = newest.String
	if err := j.noteRecovery(rep); err != nil {
		return err
	}
	if _, err := j.conn.ExecContext(ctx, "PRAGMA synchronous=NORMAL"); err != nil {
		return err
	}
	if j.read, err = openRead(j.path); err != nil {
		return err
	}
	if err := j.prepareRead(); err != nil {
		return err
	}
	if j.flush, err = startFlusher(j.path + "-wal"); err != nil {
		return err
	}
	j.keep = startHousekeeper(j)
	return nil
}

// Close ends the background work, flushes and closes. What was committed stays.
func (j *Journal) Close() error { return j.close() }

func (j *Journal) shut() error {
	var errs []error
	if j.keep != nil {
		j.keep.stop()
	}
	if j.flush != nil {
		errs = append(errs, j.flush.stop())
	}
	if j.body != nil {
		errs = append(errs, j.body.Close())
	}
	if j.read != nil {
		errs = append(errs, j.read.Close())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.st != nil {
		j.st.close()
	}
	errs = append(errs, j.disconnect())
	if j.lock != nil {
		errs = append(errs, j.lock.Close())
	}
	return errors.Join(errs...)
}

// Path is where the journal is.
func (j *Journal) Path() string { return j.path }

func openRead(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", record.DSN(path, "rw", "busy_timeout(5000)", "query_only(1)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(3)
	db.SetMaxIdleConns(maxIdle)
	return db, nil
}

// prepareRead prepares what is asked for by the hundred thousand: when very much
// is undone, the order behind each.
func (j *Journal) prepareRead() (err error) {
	j.body, err = j.read.Prepare("SELECT body FROM orders WHERE id = ?")
	return err
}

// maxIdle is how many connections stay open, each with its page cache, while
// nobody asks anything.
const maxIdle = 2

// takeLock keeps a second riposte off the same journal: an exclusive
// transaction on a file of its own, which the system ends when the process
// does, on every system that SQLite knows.
func takeLock(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", record.DSN(path, "rwc", "busy_timeout(0)", "locking_mode(exclusive)", "journal_mode(memory)"))
	if err != nil {
		return nil, fmt.Errorf("lock the journal: %w", err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN EXCLUSIVE"); err != nil {
		if code(err) == sqlite3.SQLITE_BUSY {
			err = ErrInUse
		}
		return nil, errors.Join(fmt.Errorf("lock the journal %s: %w", path, err), db.Close())
	}
	return db, nil
}

// code is the primary SQLite result code of err, 0 when it has none.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// isFull reports whether err means that the disk has no room.
func isFull(err error) bool { return code(err) == sqlite3.SQLITE_FULL }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
