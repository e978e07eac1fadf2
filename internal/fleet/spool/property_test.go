package spool

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

// did is something that was done to the spool, and the bytes of a file that
// tell of it.
type did struct {
	file       uint64 // number
	from, to   int64
	ack        bool
	n, epoch   uint64
	group      uint64 // number of the last record that it belongs together with
	payload    []byte
	positions  map[string]string
	unreadable bool // its body is damaged
}

// model is what a spool should know. What a crash took is not in done.
type model struct {
	t    *rapid.T
	root string // folders of the spool's lives are below
	dir  string
	o    Options
	s    *Spool
	done []did
	used map[[2]uint64]bool // epochs and numbers given, also those that were lost
	gone uint64             // number up to which the files were removed
	calm bool               // no file was removed since the newest was made
	most int64              // bytes that were appended together beyond what the spool holds
}

func (m *model) acked() uint64 {
	acked := m.gone
	for _, d := range m.done {
		if d.ack {
			acked = max(acked, d.n)
		}
	}
	return acked
}

func (m *model) last() uint64 {
	last := m.gone
	for _, d := range m.done {
		last = max(last, d.n)
	}
	return last
}

// waiting are the records that are not acknowledged.
func (m *model) waiting() (ds []did, bytes int64, whole bool) {
	acked := m.acked()
	whole = true
	for _, d := range m.done {
		if !d.ack && d.n > acked {
			ds = append(ds, d)
			bytes += d.to - d.from
			whole = whole && !d.unreadable
		}
	}
	return ds, bytes, whole
}

func (m *model) positions() map[string]string {
	out := map[string]string{}
	for _, d := range m.done {
		if !d.unreadable {
			merge(out, d.positions)
		}
	}
	return out
}

// open begins another life of the spool.
func (m *model) open() {
	before, _, _ := m.waiting()
	was := m.epoch()
	s, err := Open(m.dir, m.o)
	if err != nil {
		m.t.Fatal(err)
	}
	m.s = s
	if s.Epoch() <= was {
		m.t.Fatalf("epoch %d after %d", s.Epoch(), was)
	}
	if s.report.Numbers != 0 {
		m.t.Fatalf("%+v: nothing but the end was cut", s.report)
	}
	damaged := 0
	for _, d := range before {
		if d.unreadable {
			damaged++
		}
	}
	if s.report.Records != damaged {
		m.t.Fatalf("%+v, want %d damaged records", s.report, damaged)
	}
	m.calm = len(listed(m.t, m.dir)) > 1 || m.last() == 0
	m.removed()
}

func (m *model) epoch() uint64 {
	if m.s == nil {
		return 0
	}
	return m.s.Epoch()
}

// removed notes which files the spool has removed.
func (m *model) removed() {
	first := m.s.segs[0].number
	for _, d := range m.done {
		if !d.ack && d.file < first && d.n > m.gone {
			m.gone = d.n
			m.calm = false
		}
	}
}

func (m *model) append(t *rapid.T) {
	payloads := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 200), 1, rapid.SampledFrom([]int{1, 1, 4}).Draw(t, "together")).Draw(t, "payloads")
	positions := rapid.MapOfN(rapid.StringMatching("[a-d]"), rapid.StringMatching("[0-9]{0,3}"), 0, 3).Draw(t, "positions")
	var size int64
	var ds []did
	for i, payload := range payloads {
		d := did{payload: payload, epoch: m.s.Epoch(), n: m.last() + 1 + uint64(i), group: m.last() + uint64(len(payloads)), from: size}
		if i == len(payloads)-1 {
			d.positions = positions
		}
		size += recordSize(d.payload, d.positions)
		d.to = size
		ds = append(ds, d)
	}
	_, held, whole := m.waiting()
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a full spool is not waited for
	n, err := m.s.AppendAll(ctx, payloads, positions)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if held+size <= m.o.MaxBytes || whole && held == 0 {
			t.Fatalf("full with %d bytes of %d, refused %d more", held, m.o.MaxBytes, size)
		}
		return
	}
	if whole && held > 0 && held+size > m.o.MaxBytes {
		t.Fatalf("took %d bytes with %d of %d held", size, held, m.o.MaxBytes)
	}
	if n != ds[len(ds)-1].n {
		t.Fatalf("number %d after %d", n, m.last())
	}
	m.most = max(m.most, size-m.o.MaxBytes)
	tail := m.s.tail()
	for _, d := range ds {
		name := [2]uint64{d.epoch, d.n}
		if m.used[name] {
			t.Fatalf("number %d was given twice in epoch %d", d.n, d.epoch)
		}
		m.used[name] = true
		d.file, d.from, d.to = tail.number, d.from+tail.size-size, d.to+tail.size-size
		m.done = append(m.done, d)
	}
	m.calm = true // about the file that was perhaps begun; its record keeps it from being cut further
}

func (m *model) ack(t *rapid.T) {
	last := m.last()
	n := rapid.Uint64Range(0, last+2).Draw(t, "ack")
	before := m.acked()
	if err := m.s.Ack(n); err != nil {
		t.Fatal(err)
	}
	if n = min(n, last); n > before {
		tail := m.s.tail()
		m.done = append(m.done, did{file: tail.number, from: tail.size - headerSize, to: tail.size, ack: true, n: n})
	}
	m.removed()
}

func (m *model) next(t *rapid.T) {
	after := rapid.Uint64Range(0, m.last()+1).Draw(t, "after")
	r, wait, err := m.s.tryNext(after)
	if err != nil {
		t.Fatal(err)
	}
	waiting, _, _ := m.waiting()
	var want *did
	epoch := uint64(0)
	for _, d := range waiting {
		if d.unreadable {
			continue
		}
		if epoch == 0 {
			epoch = d.epoch
		}
		if d.n > after {
			want = &d
			break
		}
	}
	switch {
	case want == nil && wait == nil:
		t.Fatalf("record %d behind %d, expected none", r.N, after)
	case want == nil:
	case wait != nil && want.epoch == epoch:
		if _, _, whole := m.waiting(); whole {
			t.Fatalf("nothing behind %d, expected record %d", after, want.n)
		}
	case wait == nil && (r.N != want.n || r.Epoch != want.epoch || !bytes.Equal(r.Payload, want.payload)):
		t.Fatalf("record %d of epoch %d behind %d, expected %d of %d", r.N, r.Epoch, after, want.n, want.epoch)
	case wait == nil && want.epoch != epoch:
		t.Fatalf("record %d of epoch %d while some of epoch %d are on their way", r.N, r.Epoch, epoch)
	}
}

func (m *model) restart(t *rapid.T) {
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	m.open()
}

// crash goes on with the files as they are, without their end, or with a byte
// of it changed.
func (m *model) crash(t *rapid.T) {
	newest := *m.s.tail()
	dir, err := os.MkdirTemp(m.root, "life")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range listed(t, m.dir) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	m.dir = dir
	path := filepath.Join(dir, filepath.Base(newest.path))
	empty := true
	for _, d := range m.done {
		empty = empty && d.file != newest.number
	}
	// The head is on the disk before anything relies on it.
	from := newest.start
	if empty && m.calm {
		from = 0
	}
	switch at := rapid.Int64Range(from, newest.size).Draw(t, "at"); rapid.SampledFrom([]string{"kill", "cut", "rot"}).Draw(t, "how") {
	case "cut":
		if err := os.Truncate(path, at); err != nil {
			t.Fatal(err)
		}
		m.lose(func(d did) bool { return d.file == newest.number && d.to > at })
	case "rot":
		if at == newest.size {
			break
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		for i := range m.done {
			d := &m.done[i]
			if d.file != newest.number || at < d.from || at >= d.to {
				continue
			}
			if at >= d.from+headerSize {
				d.unreadable = true
				break
			}
			from := d.from
			m.lose(func(d did) bool { return d.file == newest.number && d.from >= from })
			break
		}
	}
	m.open()
}

// lose forgets what is lost, and what belongs together with it.
func (m *model) lose(lost func(did) bool) {
	groups := map[uint64]bool{}
	for _, d := range m.done {
		if !d.ack && lost(d) {
			groups[d.group] = true
		}
	}
	kept := m.done[:0:0]
	for _, d := range m.done {
		if !lost(d) && (d.ack || !groups[d.group]) {
			kept = append(kept, d)
		}
	}
	m.done = kept
}

// check compares what can be seen.
func (m *model) check(t *rapid.T) {
	if got, want := m.s.Positions(), m.positions(); !maps.Equal(got, want) {
		t.Fatalf("positions %v, want %v", got, want)
	}
	if got, want := m.s.Acked(), m.acked(); got != want {
		t.Fatalf("acknowledged up to %d, want %d", got, want)
	}
	waiting, held, whole := m.waiting()
	m.s.mu.Lock()
	var got []Record
	for after := uint64(0); ; {
		r, ok, err := m.s.find(&m.s.reader, after)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		got, after = append(got, r), r.N
	}
	m.s.mu.Unlock()
	i := 0
	for _, d := range waiting {
		if d.unreadable {
			continue
		}
		if i == len(got) || got[i].N != d.n || got[i].Epoch != d.epoch || !bytes.Equal(got[i].Payload, d.payload) {
			t.Fatalf("record %d of epoch %d is not where it should be: %v", d.n, d.epoch, payloads(got))
		}
		i++
	}
	if i != len(got) {
		t.Fatalf("%d records too many: %v", len(got)-i, payloads(got))
	}
	if st := m.s.Stats(); whole && (st.Records != len(waiting) || st.Bytes != held || st.Oldest.IsZero() != (len(waiting) == 0)) {
		t.Fatalf("%+v, want %d records of %d bytes", st, len(waiting), held)
	}
	var disk int64
	for _, path := range listed(t, m.dir) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		disk += info.Size()
	}
	if n := int64(len(m.s.segs)); disk > 2*m.o.MaxBytes+n*(m.o.SegmentBytes+400)+m.most {
		t.Fatalf("%d bytes on disk in %d files", disk, n)
	}
}

func listed(t *rapid.T, dir string) []string {
	list, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestNothingIsLostButWhatWasCut: whatever happens to the process and to the
// end of the files, nothing acknowledged comes back, nothing else is lost, and
// the positions are those of the records.
func TestNothingIsLostButWhatWasCut(t *testing.T) {
	root := t.TempDir()
	if dir, err := os.MkdirTemp("/dev/shm", "spool"); err == nil { // spares the disk thousands of flushes
		root = dir
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(root, "life")
		if err != nil {
			t.Fatal(err)
		}
		m := &model{
			t: t, root: root, dir: dir, used: map[[2]uint64]bool{},
			o: Options{MaxBytes: rapid.Int64Range(500, 6000).Draw(t, "most"), SegmentBytes: rapid.Int64Range(1, 2000).Draw(t, "segment")},
		}
		m.open()
		defer func() { _ = m.s.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append": m.append, "append more": m.append, "ack": m.ack, "next": m.next, "restart": m.restart, "crash": m.crash, "": m.check,
		})
	})
}
