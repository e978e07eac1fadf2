package journal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"riposte"
	"riposte/internal/record"
)

// Record is one link of the audit chain: a receipt, or a note of something that
// a person or riposte itself did. The SHA-256 of a record's line is the Prev of
// the next one, so that no record can be changed or removed without a trace.
type Record struct {
	Seq     int64            `json:"seq"`
	Prev    string           `json:"prev"` // SHA-256 of the record before, in hexadecimal
	Time    time.Time        `json:"time"`
	Receipt *riposte.Receipt `json:"receipt,omitempty"`
	Note    *Note            `json:"note,omitempty"`
	Digest  string           `json:"order_sha256,omitempty"` // of the order as stored, in its first record
}

// Note is a record of what is not about one order.
type Note struct {
	Action string `json:"action"` // stable word: "start", "pause", "forgive", "retire"
	By     string `json:"by,omitempty"`
	Text   string `json:"text,omitempty"`
	// Anchor is set by the retirement of old records: the last one retired.
	Anchor *Anchor `json:"anchor,omitempty"`
	// Gaps are set by the recovery of a damaged journal: what was lost.
	Gaps []Gap `json:"gaps,omitempty"`
}

// Anchor stands for all records up to Seq, which are no longer kept.
type Anchor struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"` // of that record's line
}

// Gap is a hole in the chain: the records between After and Before are lost.
type Gap struct {
	After  int64 `json:"after"`
	Before int64 `json:"before"`
}

// link is the end of the chain.
type link struct {
	seq  int64
	hash [sha256.Size]byte
}

func (l link) String() string { return itoa(l.seq) + " " + hex.EncodeToString(l.hash[:]) }

func parseLink(s string) (l link, err error) {
	seq, hash, _ := strings.Cut(s, " ")
	if _, err := fmt.Sscan(seq, &l.seq); err != nil {
		return link{}, fmt.Errorf("end of the audit chain %q: %w", s, err)
	}
	if n, err := hex.Decode(l.hash[:], []byte(hash)); err != nil || n != len(l.hash) {
		return link{}, fmt.Errorf("end of the audit chain %q is not a number and a SHA-256", s)
	}
	return l, nil
}

// add makes the record the next link and returns its line.
func (l *link) add(r *Record) ([]byte, error) {
	r.Seq, r.Prev = l.seq+1, hex.EncodeToString(l.hash[:])
	if l.seq == 0 {
		r.Prev = ""
	}
	line, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode audit record: %w", err)
	}
	l.seq, l.hash = r.Seq, sha256.Sum256(line)
	return line, nil
}

// about is the order and target a record is found by.
func (r *Record) about() (order, target string) {
	if r.Receipt == nil {
		return "", ""
	}
	return r.Receipt.Order, record.Target(r.Receipt.Target)
}

// readHead finds the end of the chain: what meta says, so that records removed
// from the end leave a gap behind, or the last record when meta lags behind it.
func (j *Journal) readHead(ctx context.Context) error {
	var text string
	err := j.conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'head'").Scan(&text)
	if err == nil {
		if j.head, err = parseLink(text); err != nil {
			j.head = link{} // damaged: the last record will do
		}
	} else if !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("find the end of the audit chain: %w", err)
	}
	var seq int64
	var line []byte
	err = j.conn.QueryRowContext(ctx, "SELECT seq, line FROM records ORDER BY seq DESC LIMIT 1").Scan(&seq, &line)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the end of the audit chain: %w", err)
	}
	if seq > j.head.seq {
		j.head = link{seq: seq, hash: sha256.Sum256(line)}
	}
	return nil
}

// Fault is the first thing wrong with the audit chain.
type Fault struct {
	Seq  int64  `json:"seq"`
	Text string `json:"text"`
}

// Verdict is what Verify found.
type Verdict struct {
	First   int64   `json:"first"`             // sequence number of the first record kept
	Last    int64   `json:"last"`              // and of the last
	Records int     `json:"records"`           // how many were read
	Head    string  `json:"head"`              // SHA-256 of the last: keep it elsewhere to prove more later
	Retired *Anchor `json:"retired,omitempty"` // records before First, vouched for by a record in the chain
	Gaps    []Gap   `json:"gaps,omitempty"`    // lost to damage, vouched for by a record in the chain
	Fault   *Fault  `json:"fault,omitempty"`
}

// Verify walks the whole chain and checks every record against the next one,
// against the columns it is found by, and against the order it is about. A
// fault is in the verdict; the error is for a journal that cannot be read.
//
// Who can write the file can forge a whole new chain. Against that helps only a
// copy of Head, or of the records, in a place riposte's host cannot write.
func (j *Journal) Verify(ctx context.Context) (Verdict, error) {
	tx, err := j.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Verdict{}, fmt.Errorf("verify the audit chain: %w", err)
	}
	defer tx.Rollback()
	var head string
	if err := tx.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'head'").Scan(&head); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Verdict{}, fmt.Errorf("verify the audit chain: %w", err)
	}
	rows, err := tx.QueryContext(ctx, `SELECT r.seq, r.time, r.ord, r.target, r.line, o.body
		FROM records r LEFT JOIN orders o ON r.ord <> '' AND o.id = r.ord ORDER BY r.seq`)
	if err != nil {
		return Verdict{}, fmt.Errorf("verify the audit chain: %w", err)
	}
	defer rows.Close()
	w := walk{}
	for rows.Next() {
		var f found
		if err := rows.Scan(&f.seq, &f.time, &f.order, &f.target, &f.line, &f.body); err != nil {
			return w.v, fmt.Errorf("verify the audit chain: %w", err)
		}
		w.step(&f)
	}
	if err := rows.Err(); err != nil {
		return w.v, fmt.Errorf("verify the audit chain: %w", err)
	}
	return w.end(head), nil
}

// found is a record as the table has it.
type found struct {
	seq, time     int64
	order, target string
	line, body    []byte
}

// walk goes along the chain.
type walk struct {
	v       Verdict
	last    link
	before  string         // Prev of the first record
	gaps    map[Gap]string // breaks seen, with the Prev found after them
	anchor  *Anchor
	allowed map[Gap]bool
}

func (w *walk) fault(seq int64, format string, args ...any) {
	if w.v.Fault == nil {
		w.v.Fault = &Fault{Seq: seq, Text: fmt.Sprintf(format, args...)}
	}
}

func (w *walk) step(f *found) {
	var r Record
	if err := json.Unmarshal(f.line, &r); err != nil {
		w.fault(f.seq, "record %d is not a record: %v", f.seq, err)
	} else {
		w.compare(f, &r)
	}
	switch {
	case w.v.Records == 0:
		w.v.First, w.before = f.seq, r.Prev
	case f.seq != w.last.seq+1 || r.Prev != hex.EncodeToString(w.last.hash[:]):
		if w.gaps == nil {
			w.gaps = map[Gap]string{}
		}
		w.gaps[Gap{w.last.seq, f.seq}] = r.Prev
		w.v.Gaps = append(w.v.Gaps, Gap{w.last.seq, f.seq})
	}
	if r.Note != nil && r.Note.Anchor != nil {
		w.anchor = r.Note.Anchor
	}
	if r.Note != nil {
		for _, g := range r.Note.Gaps {
			if w.allowed == nil {
				w.allowed = map[Gap]bool{}
			}
			w.allowed[g] = true
		}
	}
	w.last = link{seq: f.seq, hash: sha256.Sum256(f.line)}
	w.v.Records++
}

// compare checks a record against what stands beside it.
func (w *walk) compare(f *found, r *Record) {
	order, target := r.about()
	switch {
	case r.Seq != f.seq:
		w.fault(f.seq, "record %d says it is number %d", f.seq, r.Seq)
	case order != f.order || sayable(target) != sayable(f.target) || record.Nanos(r.Time) != f.time:
		w.fault(f.seq, "record %d is filed under another order, target or time than its own", f.seq)
	case r.Digest != "" && f.body != nil && r.Digest != digest(f.body):
		w.fault(f.seq, "the order %s was changed since record %d was made", f.order, f.seq)
	}
}

// sayable is the text as JSON can hold it: a file name may be any bytes.
func sayable(s string) string { return string([]rune(s)) }

func (w *walk) end(head string) Verdict {
	w.v.Last = w.last.seq
	if w.v.Records == 0 && head == "" {
		return w.v
	}
	w.v.Head = hex.EncodeToString(w.last.hash[:])
	for _, g := range w.v.Gaps {
		if !w.allowed[g] {
			w.fault(g.Before, "record %d does not follow record %d: what stood there was changed or removed", g.Before, g.After)
		}
	}
	switch {
	case w.v.Records == 0 || w.before == "" && w.v.First == 1:
	case w.anchor != nil && w.anchor.Seq == w.v.First-1 && w.anchor.Hash == w.before:
		w.v.Retired = w.anchor
	case w.allowed[Gap{0, w.v.First}]:
		w.v.Gaps = append([]Gap{{0, w.v.First}}, w.v.Gaps...)
	default:
		w.fault(w.v.First, "the records before %d are gone, and no record says that they were retired", w.v.First)
	}
	if w.v.Records == 0 || w.last.String() != head {
		w.fault(w.last.seq, "the chain ends at record %d, but the journal's own mark says it ended as %q: records at the end were removed or added", w.last.seq, head)
	}
	return w.v
}

// Export calls do with the line of every record after the given sequence
// number, oldest first, until do fails. A line is JSON and has no line break;
// its SHA-256 is the prev of the next.
func (j *Journal) Export(ctx context.Context, after int64, do func(seq int64, line []byte) error) error {
	rows, err := j.read.QueryContext(ctx, "SELECT seq, line FROM records WHERE seq > ? ORDER BY seq", after)
	if err != nil {
		return fmt.Errorf("export audit records: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		var line []byte
		if err := rows.Scan(&seq, &line); err != nil {
			return fmt.Errorf("export audit records: %w", err)
		}
		if err := do(seq, line); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("export audit records: %w", err)
	}
	return nil
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
