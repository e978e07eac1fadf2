package spool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func open(t *testing.T, dir string, o Options) *Spool {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func add(t *testing.T, s *Spool, payload string, positions map[string]string) uint64 {
	t.Helper()
	n, err := s.Append(t.Context(), []byte(payload), positions)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// rest reads all that is not acknowledged behind a number, of whatever epoch.
func rest(t *testing.T, s *Spool, after uint64) []Record {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Record
	for {
		r, ok, err := s.find(&s.reader, after)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return out
		}
		out = append(out, r)
		after = r.N
	}
}

func payloads(rs []Record) string {
	var out []string
	for _, r := range rs {
		out = append(out, fmt.Sprintf("%d:%s", r.N, r.Payload))
	}
	return strings.Join(out, " ")
}

func wantRest(t *testing.T, s *Spool, want string) {
	t.Helper()
	if got := payloads(rest(t, s, 0)); got != want {
		t.Errorf("the spool holds %q, want %q", got, want)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestWhatIsAppendedIsReadUntilItIsAcknowledged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "spool")
	s := open(t, dir, Options{})
	add(t, s, "a", map[string]string{"file:/a": "1", "file:/b": "7"})
	add(t, s, "", map[string]string{"file:/a": "2"})
	add(t, s, "c\x00\xff", nil)
	wantRest(t, s, "1:a 2: 3:c\x00\xff")
	if got := payloads(rest(t, s, 2)); got != "3:c\x00\xff" {
		t.Errorf("behind 2: %q", got)
	}
	if err := s.Ack(2); err != nil {
		t.Fatal(err)
	}
	wantRest(t, s, "3:c\x00\xff")
	first := s.Epoch()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir, Options{})
	if w := s.Report().Words(); w != "" {
		t.Errorf("a spool that was closed is reported damaged: %s", w)
	}
	add(t, s, "d", map[string]string{"file:/b": ""})
	got := rest(t, s, 0)
	if payloads(got) != "3:c\x00\xff 4:d" || got[0].Epoch != first || got[1].Epoch != s.Epoch() || s.Epoch() <= first {
		t.Errorf("after a restart: %q in epochs %d and %d, expected %d and one above", payloads(got), got[0].Epoch, got[1].Epoch, first)
	}
	if p := s.Positions(); !maps.Equal(p, map[string]string{"file:/a": "2"}) {
		t.Errorf("positions %v", p)
	}
	if st := s.Stats(); st.Records != 2 || st.Oldest.IsZero() || time.Since(st.Oldest) > time.Hour || st.Lost != 0 || st.Problem != "" {
		t.Errorf("stats %+v", st)
	}
	if err := s.Ack(1 << 60); err != nil {
		t.Fatal(err)
	}
	wantRest(t, s, "")
	if st := s.Stats(); st != (Stats{}) {
		t.Errorf("stats of an empty spool: %+v", st)
	}
	if n := add(t, s, "e", nil); n != 5 {
		t.Errorf("number %d after an acknowledgement of more than there was, expected 5", n)
	}
}

// What belongs together is there as a whole or not at all, wherever the file
// ends, and its numbers are given again then.
func TestTogetherOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	add(t, s, "a", map[string]string{"f": "1"})
	if err := s.Ack(1); err != nil {
		t.Fatal(err)
	}
	add(t, s, "b", map[string]string{"f": "2"})
	from := s.tail().size
	if n, err := s.AppendAll(t.Context(), [][]byte{[]byte("c"), nil, []byte("d")}, map[string]string{"f": "5", "g": "6"}); err != nil || n != 5 {
		t.Fatalf("number %d, %v", n, err)
	}
	if _, err := s.AppendAll(t.Context(), nil, map[string]string{"f": "9"}); err == nil || s.Positions()["f"] != "5" {
		t.Fatalf("a position without a record: %v", err)
	}
	to := s.tail().size
	whole, err := os.ReadFile(s.tail().path)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(s.tail().path)
	for at := from; at <= to; at++ {
		cut := t.TempDir()
		if err := os.WriteFile(filepath.Join(cut, name), whole[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, cut, Options{})
		if got := s.Report(); at > from && at < to && got.Cut != at-from || got.Records != 0 || got.Numbers != 0 {
			t.Fatalf("cut at %d of %d to %d: %+v", at, from, to, got)
		}
		want, positions := "2:b", map[string]string{"f": "2"}
		if at == to {
			want, positions = "2:b 3:c 4: 5:d", map[string]string{"f": "5", "g": "6"}
		}
		if got := payloads(rest(t, s, 0)); got != want || !maps.Equal(s.Positions(), positions) {
			t.Fatalf("cut at %d of %d to %d: holds %q with positions %v", at, from, to, got, s.Positions())
		}
		next := uint64(3)
		if at == to {
			next = 6
		}
		if n := add(t, s, "e", nil); n != next {
			t.Errorf("number %d after %q", n, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What belongs together and is more than the spool holds waits until it is empty.
func TestTogetherMoreThanTheSpoolHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{MaxBytes: 300})
		add(t, s, "a", nil)
		done := make(chan error)
		go func() {
			_, err := s.AppendAll(t.Context(), [][]byte{make([]byte, 200), make([]byte, 200)}, map[string]string{"f": "1"})
			done <- err
		}()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("did not wait: %v", err)
		default:
		}
		if err := s.Ack(1); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Records != 2 || s.Positions()["f"] != "1" {
			t.Errorf("%+v, positions %v", st, s.Positions())
		}
	})
}

func TestFilesGoWhenAllOfThemIsAcknowledged(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{SegmentBytes: 300})
	for i := range 30 {
		add(t, s, strings.Repeat("x", 100), map[string]string{"f": fmt.Sprint(i)})
	}
	if n := len(files(t, dir)); n < 8 {
		t.Fatalf("%d files, expected about 10", n)
	}
	if err := s.Ack(29); err != nil {
		t.Fatal(err)
	}
	if n := len(files(t, dir)); n != 1 {
		t.Errorf("%d files are left, expected 1", n)
	}
	if st := s.Stats(); st.Records != 1 || st.Bytes != recordSize(make([]byte, 100), map[string]string{"f": "29"}) {
		t.Errorf("stats %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	if got := s.Positions()["f"]; got != "29" {
		t.Errorf("position %q, expected 29", got)
	}
	if got := rest(t, s, 0); len(got) != 1 || got[0].N != 30 {
		t.Errorf("%q is left, expected record 30", payloads(got))
	}
}

func TestRestartsLeaveNoEmptyFiles(t *testing.T) {
	dir := t.TempDir()
	for range 20 {
		if err := open(t, dir, Options{}).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(files(t, dir)); n != 1 {
		t.Errorf("%d files, expected 1", n)
	}
}

func TestAFullSpoolHoldsBackUntilRoomIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{MaxBytes: 300, SegmentBytes: 100})
		add(t, s, strings.Repeat("a", 100), nil)
		add(t, s, strings.Repeat("b", 100), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := s.Append(ctx, make([]byte, 100), map[string]string{"f": "1"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("into a full spool: %v, expected to wait until the deadline", err)
		}
		if len(s.Positions()) != 0 || s.Stats().Records != 2 {
			t.Error("an append that failed left something behind")
		}
		done := make(chan uint64)
		go func() {
			n, err := s.Append(t.Context(), make([]byte, 100), nil)
			if err != nil {
				t.Error(err)
			}
			done <- n
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("appended to a full spool")
		default:
		}
		if err := s.Ack(1); err != nil {
			t.Fatal(err)
		}
		if n := <-done; n != 3 {
			t.Errorf("number %d, expected 3", n)
		}
		if _, err := s.Append(t.Context(), make([]byte, 300), nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("more than the spool holds: %v", err)
		}
	})
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{})
		got := make(chan Record)
		go func() {
			r, err := s.Next(t.Context(), 0)
			if err != nil {
				t.Error(err)
			}
			got <- r
		}()
		synctest.Wait()
		add(t, s, "now", nil)
		if r := <-got; r.N != 1 || string(r.Payload) != "now" {
			t.Errorf("got %d:%s", r.N, r.Payload)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := s.Next(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with nothing there: %v", err)
		}
		ended := make(chan error)
		go func() {
			_, err := s.Next(t.Context(), 1)
			ended <- err
		}()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("when the spool is closed: %v", err)
		}
		if _, err := s.Append(t.Context(), nil, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("append to a closed spool: %v", err)
		}
	})
}

func TestAnEpochBeginsWhenTheOneBeforeIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, Options{})
		add(t, s, "a", nil)
		add(t, s, "b", nil)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{})
		add(t, s, "c", nil)
		got := make(chan Record)
		go func() {
			for n := range uint64(3) {
				r, err := s.Next(t.Context(), n)
				if err != nil {
					t.Error(err)
				}
				got <- r
			}
		}()
		a, b := <-got, <-got
		synctest.Wait()
		if err := s.Ack(1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case r := <-got:
			t.Errorf("record %d:%s of a new epoch while %d:%s of the old one is on its way", r.N, r.Payload, b.N, b.Payload)
			return
		default:
		}
		if err := s.Ack(2); err != nil {
			t.Fatal(err)
		}
		if c := <-got; a.N != 1 || b.N != 2 || c.N != 3 || a.Epoch != b.Epoch || c.Epoch != s.Epoch() || c.Epoch <= b.Epoch {
			t.Errorf("got %d:%d %d:%d %d:%d", a.Epoch, a.N, b.Epoch, b.N, c.Epoch, c.N)
		}
		if s.Acked() != 2 {
			t.Errorf("acknowledged up to %d", s.Acked())
		}
	})
}

// A second reader sees every record, also those of a new epoch and those that are
// acknowledged, as long as they are held.
func TestHeldRecordsAreReadTwice(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{SegmentBytes: 100})
	if err := s.Hold(0); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a", "b", "c"} {
		add(t, s, text, nil)
	}
	if err := s.Ack(2); err != nil {
		t.Fatal(err)
	}
	if err := s.Hold(1); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{SegmentBytes: 100})
	if err := s.Hold(1); err != nil {
		t.Fatal(err)
	}
	add(t, s, "d", nil)
	r := s.NewReader()
	var got []Record
	for after := uint64(0); after < 4; after = got[len(got)-1].N {
		x, err := r.Next(t.Context(), after)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, x)
		if err := s.Ack(x.N); err != nil { // the sender is faster
			t.Fatal(err)
		}
	}
	if payloads(got) != "2:b 3:c 4:d" || s.Acked() != 1 || s.Last() != 4 {
		t.Errorf("read %q, acknowledged up to %d of %d", payloads(got), s.Acked(), s.Last())
	}
	if err := s.Hold(4); err != nil {
		t.Fatal(err)
	}
	if n := len(files(t, dir)); s.Acked() != 4 || n != 1 {
		t.Errorf("acknowledged up to %d, %d files", s.Acked(), n)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Next(ended, 4); !errors.Is(err, context.Canceled) {
		t.Errorf("with nothing there: %v", err)
	}
	add(t, s, "e", nil)
	if x, err := r.Next(ended, 4); err != nil || x.N != 5 {
		t.Errorf("what is there is read although nobody would wait: %d, %v", x.N, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(t.Context(), 5); !errors.Is(err, ErrClosed) {
		t.Errorf("when the spool is closed: %v", err)
	}
}

// A damaged record that nobody can read is nobody's to acknowledge.
func TestADamagedRecordDoesNotHoldTheNextEpochBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	add(t, s, "aaaa", nil)
	add(t, s, "bbbb", nil)
	seg := s.segs[0]
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	flip(t, seg.path, seg.size-1)
	s = open(t, dir, Options{})
	if r := s.Report(); r != (Report{Records: 1}) {
		t.Errorf("report %+v, expected one damaged record", r)
	}
	add(t, s, "cccc", nil)
	if r, err := s.Next(t.Context(), 0); err != nil || r.N != 1 {
		t.Fatalf("record %d, %v", r.N, err)
	}
	if err := s.Ack(1); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Next(t.Context(), 1); err != nil || r.N != 3 {
		t.Fatalf("record %d, %v", r.N, err)
	}
	if st := s.Stats(); st.Records != 1 || st.Lost != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestReadersAtSeveralPlaces(t *testing.T) {
	s := open(t, t.TempDir(), Options{SegmentBytes: 200})
	for i := range 50 {
		add(t, s, strings.Repeat("x", i), nil)
	}
	for _, after := range []uint64{0, 40, 3, 49, 20, 19, 0} {
		r, err := s.Next(t.Context(), after)
		if err != nil || r.N != after+1 || len(r.Payload) != int(after) {
			t.Errorf("behind %d: record %d of %d bytes, %v", after, r.N, len(r.Payload), err)
		}
	}
	if err := s.Ack(45); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Next(t.Context(), 10); err != nil || r.N != 46 {
		t.Errorf("behind what is acknowledged: record %d, %v; expected 46", r.N, err)
	}
	open := 0
	for _, seg := range s.segs {
		if seg.file != nil {
			open++
		}
	}
	if open > 3 {
		t.Errorf("%d files are open, expected 3 at most", open)
	}
}

func TestWhatRotsWhileItWaitsIsPassedOver(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{SegmentBytes: 400})
	for i := range 9 {
		add(t, s, strings.Repeat(fmt.Sprint(i+1), 100), nil)
	}
	seg := s.segs[0]
	flip(t, seg.path, seg.start+headerSize+50)    // the body of record 1
	flip(t, s.segs[1].path, s.segs[1].start+10+1) // the header of the first one there
	var numbers []uint64
	for _, r := range rest(t, s, 0) {
		numbers = append(numbers, r.N)
	}
	if got, want := fmt.Sprint(numbers), "[2 3 7 8 9]"; got != want {
		t.Errorf("read %s, expected %s", got, want)
	}
	if err := s.Ack(9); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Records != 0 || st.Bytes != 0 || st.Lost != 4 {
		t.Errorf("stats %+v, expected an empty spool and 4 lost", st)
	}
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

func TestAllIsGone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	add(t, s, "a", map[string]string{"f": "1"})
	first := s.Epoch()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range files(t, dir) {
		if err := os.WriteFile(f, []byte("something else altogether, and long enough for a header"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir, Options{})
	if len(s.Positions()) != 0 || s.Stats().Records != 0 || s.Report().Cut == 0 || s.Epoch() == first {
		t.Errorf("positions %v, %+v, report %+v", s.Positions(), s.Stats(), s.Report())
	}
	if n := add(t, s, "b", nil); n != 1 {
		t.Errorf("number %d", n)
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"README", "1.spool", "00000000000x.spool", "000000000001.spool.bak"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir, Options{})
	add(t, s, "a", nil)
	if err := s.Ack(1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README", "1.spool", "00000000000x.spool", "000000000001.spool.bak"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != "mine" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestReportInWords(t *testing.T) {
	for _, c := range []struct {
		r    Report
		want string
	}{
		{Report{}, ""},
		{Report{Cut: 12}, "12 bytes were cut off"},
		{Report{Records: 1, Numbers: 2, Cut: 5}, "3 records that were not sent yet are lost"},
	} {
		if got := c.r.Words(); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q, expected %q", c.r, got, c.want)
		}
	}
}

// FuzzOpen: whatever stands in a file of the spool, it is opened, and opened
// again it is the same.
func FuzzOpen(f *testing.F) {
	head := record{kind: kindHead, time: time.Unix(0, 0), payload: append([]byte(formatName), make([]byte, 16)...)}
	text := head.appendTo(nil)
	for i, kind := range []uint32{kindData, kindPart, kindPart, kindData, kindAck, kindPart} {
		f.Add(text)
		r := record{kind: kind, n: uint64(i + 1), time: time.Unix(0, 0), positions: map[string]string{"f": fmt.Sprint(i)}, payload: []byte("text")}
		if kind == kindAck {
			r.n = 2
		}
		text = r.appendTo(text)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(segmentPath(dir, 1), b, 0o600); err != nil {
			t.Fatal(err)
		}
		var seen []string
		for range 2 {
			s, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, fmt.Sprint(payloads(rest(t, s, 0)), s.Positions(), s.Acked(), s.last))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if seen[0] != seen[1] {
			t.Errorf("%s, and then %s", seen[0], seen[1])
		}
	})
}
