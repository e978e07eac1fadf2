package journal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"riposte/internal/record"
)

// How the housekeeper goes about its work.
const (
	foldAt    = 4 << 20  // bytes of write-ahead log worth folding into the main file
	foldHard  = 64 << 20 // bytes at which the writer has to wait for it
	retireLot = 2000     // records retired in one transaction
	ageEvery  = time.Hour
	foldEvery = time.Second // at most
)

// housekeeper does in the background what keeps the journal small: it folds the
// write-ahead log into the main file, retires old records, and keeps the
// reserve.
type housekeeper struct {
	j    *Journal
	wg   sync.WaitGroup
	work chan struct{}
	quit context.CancelFunc

	mu      sync.Mutex
	appends int
	err     error // of the last round
}

func startHousekeeper(j *Journal) *housekeeper {
	ctx, cancel := context.WithCancel(context.Background())
	h := &housekeeper{j: j, work: make(chan struct{}, 1), quit: cancel}
	h.work <- struct{}{}
	h.wg.Go(func() { h.run(ctx) })
	return h
}

// written notes a commit that appended n records.
func (h *housekeeper) written(n int) {
	h.mu.Lock()
	h.appends += n
	h.mu.Unlock()
	poke(h.work)
}

func (h *housekeeper) stop() {
	h.quit()
	h.wg.Wait()
}

func (h *housekeeper) run(ctx context.Context) {
	age := time.NewTicker(ageEvery)
	defer age.Stop()
	due := true // to retire, and to look at the reserve
	for {
		select {
		case <-ctx.Done():
			return
		case <-age.C:
			due = true
		case <-h.work:
		}
		h.mu.Lock()
		if h.appends >= retireLot {
			h.appends, due = 0, true
		}
		h.mu.Unlock()
		again, err := h.j.fold(ctx)
		if again {
			poke(h.work)
		}
		if due {
			due = false
			err = errors.Join(err, h.j.retire(ctx), h.j.restoreReserve())
		}
		if ctx.Err() != nil {
			return
		}
		h.mu.Lock()
		h.err = err
		h.mu.Unlock()
		// What a burst wrote is dealt with once, not commit by commit.
		pause := time.NewTimer(foldEvery)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// fold moves the write-ahead log into the main file once it has grown. What of
// it was moved is cut off when nobody is in the way: the next start reads the
// whole log. again reports that it was not.
func (j *Journal) fold(ctx context.Context) (again bool, err error) {
	size := fileSize(j.path + "-wal")
	if size < foldAt {
		return false, nil
	}
	conn, err := j.db.Conn(ctx)
	if err == nil {
		err = errors.Join(foldWith(ctx, conn, size), conn.Close())
	}
	if err != nil && ctx.Err() == nil {
		return false, fmt.Errorf("fold the journal's write-ahead log: %w", err)
	}
	return fileSize(j.path+"-wal") >= foldAt, nil
}

func foldWith(ctx context.Context, conn *sql.Conn, size int64) error {
	checkpoint := func(how string, patience int) (whole bool, err error) {
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout=%d", patience)); err != nil {
			return false, err
		}
		var busy, frames, done int
		err = conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+how+")").Scan(&busy, &frames, &done)
		return frames == done, err
	}
	whole, err := checkpoint("PASSIVE", 0)
	switch {
	case err == nil && whole:
		_, err = checkpoint("TRUNCATE", 0)
	case err == nil && size > foldHard:
		_, err = checkpoint("RESTART", 5000)
	}
	return err
}

func fileSize(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.Size()
}

// retire removes the oldest records while there are too many or they are too
// old, lot by lot, with a record of each lot that vouches for what is gone.
// Orders go with the last record about them, unless they are in force.
func (j *Journal) retire(ctx context.Context) error {
	for ctx.Err() == nil {
		last, err := j.retireUpTo(ctx)
		if err != nil {
			return fmt.Errorf("retire old audit records: %w", err)
		}
		if last == 0 {
			return nil
		}
		orders, sum, err := j.leaving(ctx, last)
		if err != nil {
			return fmt.Errorf("retire old audit records: %w", err)
		}
		if err := j.remove(last, sum, orders); err != nil {
			return fmt.Errorf("retire old audit records: %w", err)
		}
	}
	return nil
}

// retireUpTo is the sequence number of the last record of the lot to retire
// next, 0 for none. Small change is left until there is a whole lot of it.
func (j *Journal) retireUpTo(ctx context.Context) (int64, error) {
	var first, last sql.NullInt64
	if err := j.read.QueryRowContext(ctx, "SELECT (SELECT min(seq) FROM records), (SELECT max(seq) FROM records)").Scan(&first, &last); err != nil {
		return 0, err
	}
	if !first.Valid {
		return 0, nil
	}
	keep := int64(j.o.MaxRecords)
	lot := min(int64(retireLot), max(keep/10, 1))
	if keep > 0 && last.Int64-first.Int64+1 >= keep+lot {
		return first.Int64 + lot - 1, nil
	}
	if j.o.MaxAge <= 0 {
		return 0, nil
	}
	var upTo int64
	err := j.read.QueryRowContext(ctx, "SELECT COALESCE(max(seq), 0) FROM (SELECT seq, time FROM records ORDER BY seq LIMIT ?) WHERE time < ?",
		lot, record.Nanos(time.Now().Add(-j.o.MaxAge))).Scan(&upTo)
	if upTo == last.Int64 {
		upTo-- // the last one holds the chain
	}
	return max(upTo, 0), err
}

// leaver is an order that may go, and the target it is found by.
type leaver struct{ id, target string }

// leaving lists the orders of the records up to last that are not in force, and
// the hash of that last record.
func (j *Journal) leaving(ctx context.Context, last int64) (orders []leaver, sum [sha256.Size]byte, err error) {
	rows, err := j.read.QueryContext(ctx, "SELECT target, line FROM records WHERE seq <= ? ORDER BY seq", last)
	if err != nil {
		return nil, sum, err
	}
	defer rows.Close()
	held, err := j.read.PrepareContext(ctx, "SELECT count(*) FROM responses WHERE target = ? AND command = ? AND ord = ?")
	if err != nil {
		return nil, sum, err
	}
	defer held.Close()
	seen := map[string]bool{}
	for rows.Next() {
		var target string
		var line []byte
		if err := rows.Scan(&target, &line); err != nil {
			return nil, sum, err
		}
		sum = sha256.Sum256(line)
		var r Record
		if json.Unmarshal(line, &r) != nil || r.Receipt == nil || r.Receipt.Order == "" || seen[r.Receipt.Order] {
			continue
		}
		seen[r.Receipt.Order] = true
		var n int
		if err := held.QueryRowContext(ctx, target, r.Receipt.Command, r.Receipt.Order).Scan(&n); err != nil {
			return nil, sum, err
		}
		if n == 0 {
			orders = append(orders, leaver{r.Receipt.Order, target})
		}
	}
	return orders, sum, rows.Err()
}

// remove deletes the records up to last and the orders that only they were
// about, and adds the record that says so.
func (j *Journal) remove(last int64, sum [sha256.Size]byte, orders []leaver) (err error) {
	ctx := context.Background()
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.st.begin.Exec(); err != nil {
		return err
	}
	head := j.head
	defer func() {
		if err != nil {
			_, _ = j.st.rollback.Exec() // the cause is the error to report
			j.head = head
		}
	}()
	if _, err := j.conn.ExecContext(ctx, "DELETE FROM records WHERE seq <= ?", last); err != nil {
		return err
	}
	for _, o := range orders {
		if _, err := j.conn.ExecContext(ctx, "DELETE FROM orders WHERE id = ? AND NOT EXISTS (SELECT 1 FROM records WHERE target = ? AND ord = ?)", o.id, o.target, o.id); err != nil {
			return err
		}
	}
	note := Record{Time: time.Now(), Note: &Note{
		Action: "retire",
		Text:   fmt.Sprintf("audit records up to number %d were retired", last),
		Anchor: &Anchor{Seq: last, Hash: hex.EncodeToString(sum[:])},
	}}
	if err := j.append(&note); err != nil {
		return err
	}
	if _, err := j.st.setMeta.Exec("head", j.head.String()); err != nil {
		return err
	}
	if _, err := j.st.commit.Exec(); err != nil {
		return err
	}
	j.flush.committed()
	return nil
}

// Problems says in words what is wrong with the journal now; nothing is the
// usual answer.
func (j *Journal) Problems() []string {
	var out []string
	j.mu.Lock()
	if j.full {
		out = append(out, "the disk that holds the journal was full; riposte lives on its reserve until there is room again")
	}
	j.mu.Unlock()
	j.flush.mu.Lock()
	if j.flush.err != nil {
		out = append(out, j.flush.err.Error())
	}
	j.flush.mu.Unlock()
	j.keep.mu.Lock()
	if j.keep.err != nil {
		out = append(out, j.keep.err.Error())
	}
	j.keep.mu.Unlock()
	return out
}
