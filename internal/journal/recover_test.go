//go:build linux

package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func rerun(what, dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), child+"="+what, "JOURNAL_DIR="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// full makes a closed journal with something in every table.
func full(t testing.TB, path string, n int) {
	t.Helper()
	j, _, err := Open(path, Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i += 50 {
		var ns []int
		for k := range 50 {
			ns = append(ns, i+k)
		}
		b := batch(t, ns...)
		for _, k := range ns {
			b.Offenders = append(b.Offenders, Offender{Key: order(k).Key(), Count: 1, Last: epoch, Until: epoch})
		}
		commit(t, j, b)
	}
	if err := j.SetPositions(map[string]string{"a": "1"}); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// Whatever page is hit, the journal opens, says so, and goes on.
func TestADamagedPageCostsOnlyItself(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "whole.db")
	const (
		n    = 500
		tops = 12 // pages that lead to others
	)
	full(t, path, n)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pages := len(whole) / 4096
	rng := rand.New(rand.NewPCG(1, 2))
	seen := 0
	for page := 0; page < pages; page += 1 + page/(tops+1)*20 {
		hurt := bytes.Clone(whole)
		for i := range 4096 {
			if i%7 == page%7 {
				hurt[page*4096+i] = byte(rng.Uint32())
			}
		}
		p := filepath.Join(dir, fmt.Sprintf("page%d", page), "journal.db")
		if err := errors.Join(os.Mkdir(filepath.Dir(p), 0o700), os.WriteFile(p, hurt, 0o600)); err != nil {
			t.Fatal(err)
		}
		j, rep := openAt(t, p, Options{CheckTime: time.Minute})
		if rep.Damage == "" {
			continue // in a free page or in the blank part of one
		}
		seen++
		if page == 0 {
			continue // the first page is the key to all others
		}
		kept := load(t, j)
		if len(kept) != n {
			t.Errorf("page %d: %d of %d responses kept (%+v)", page, len(kept), n, rep)
		}
		if page > tops && (rep.Kept["records"] < n*9/10 || rep.Kept["orders"] < n*9/10) {
			t.Errorf("page %d: kept %v", page, rep.Kept)
		}
		if _, err := os.Stat(rep.Aside); err != nil {
			t.Errorf("page %d: the damaged file is not kept: %v", page, err)
		}
		commit(t, j, batch(t, n+1))
		if v, err := j.Verify(t.Context()); err != nil || v.Fault != nil && !strings.Contains(v.Fault.Text, "order") {
			t.Errorf("page %d: after recovery %+v %+v %v", page, v.Fault, rep.Gaps, err)
		}
		if notes, err := j.Notes(t.Context(), 1); err != nil || len(notes) != 1 || notes[0].Note.Action != "recover" {
			t.Errorf("page %d: not on record: %+v %v", page, notes, err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
	if seen < 8 {
		t.Errorf("only %d of the damages were noticed: the test does not hit", seen)
	}
}

func TestAFileThatIsNoJournal(t *testing.T) {
	for name, data := range map[string][]byte{
		"text":      []byte(strings.Repeat("this is no database\n", 1000)),
		"noise":     bytes.Repeat([]byte{0xfe, 1, 7}, 5000),
		"cut":       nil,
		"bad magic": append([]byte("SQLite format 4\x00"), make([]byte, 8000)...),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			if name == "cut" {
				full(t, path, 500)
				if err := os.Truncate(path, fileSize(path)/2/4096*4096); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			j, rep := openAt(t, path, Options{})
			if rep.Damage == "" || len(rep.Words()) == 0 {
				t.Errorf("nothing said: %+v", rep)
			}
			commit(t, j, batch(t, 1))
			if len(load(t, j)) == 0 {
				t.Error("the new journal does not keep")
			}
		})
	}
}

// crashed copies a journal's files while it is open: what a crash leaves.
func crashed(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	j, _ := openAt(t, filepath.Join(dir, "live.db"), Options{})
	for i := range n {
		commit(t, j, batch(t, i))
	}
	path := filepath.Join(dir, "journal.db")
	for _, end := range []string{"", "-wal"} {
		data, err := os.ReadFile(filepath.Join(dir, "live.db"+end))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+end, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestADamagedLogIsSaid(t *testing.T) {
	const n = 20
	lastFrames := func(path string) (offsets []int64) {
		data, err := os.ReadFile(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		for off := walHeader; off+walFrame+4096 <= len(data); off += walFrame + 4096 {
			if binary.BigEndian.Uint64(data[off+8:]) == binary.BigEndian.Uint64(data[16:]) {
				offsets = append(offsets, int64(off))
			}
		}
		return offsets
	}
	hit := func(path string, off int64) {
		f, err := os.OpenFile(path+"-wal", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte("damage"), off)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		do   func(path string)
		want string
		keep int // at least
	}{
		{"none", func(string) {}, "", n},
		{"last page", func(p string) { fs := lastFrames(p); hit(p, fs[len(fs)-1]+100) }, "cut short by a crash, or is damaged", n - 1},
		{"in the middle", func(p string) { fs := lastFrames(p); hit(p, fs[len(fs)/2]+100) }, "pages written last were dropped", 5},
		{"header", func(p string) { hit(p, 4) }, "header of the write-ahead log is damaged", 0},
		{"cut in a frame", func(p string) { must(os.Truncate(p+"-wal", fileSize(p+"-wal")-100)) }, "", n - 1},
		{"gone", func(p string) { must(os.Remove(p + "-wal")) }, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := crashed(t, n)
			tt.do(path)
			j, rep := openAt(t, path, Options{})
			if got := strings.Join(rep.Words(), "; "); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("said %q, want %q", got, tt.want)
			}
			if got := len(load(t, j)); got < tt.keep {
				t.Errorf("%d of %d kept, want %d at least", got, n, tt.keep)
			}
			commit(t, j, batch(t, n))
			if v, err := j.Verify(t.Context()); err != nil || v.Fault != nil {
				t.Errorf("verdict %+v %v", v, err)
			}
		})
	}
}

func TestAnInterruptedRecoveryIsFinished(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.db")
	full(t, path, 50)
	if err := os.Rename(path, path+".new"); err != nil {
		t.Fatal(err)
	}
	j, _ := openAt(t, path, Options{})
	if len(load(t, j)) != 50 {
		t.Error("the finished new file was not put in place")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	j, _ = openAt(t, path, Options{})
	if len(load(t, j)) != 50 {
		t.Error("an unfinished new file was believed")
	}
	if _, err := os.Stat(path + ".new"); err == nil {
		t.Error("an unfinished new file was left")
	}
}

// FuzzLog feeds the reader of write-ahead logs anything.
func FuzzLog(f *testing.F) {
	f.Add([]byte{})
	head := make([]byte, walHeader+walFrame+512)
	binary.BigEndian.PutUint32(head, walMagic)
	binary.BigEndian.PutUint32(head[8:], 512)
	f.Add(head)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := readLog(bytes.NewReader(data)); err != nil {
			t.Errorf("bytes in memory cannot fail: %v", err)
		}
	})
}

// fillTheDisk runs in a mount namespace of its own.
func fillTheDisk(dir string) {
	must(syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	must(syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"))
	j, _, err := Open(filepath.Join(dir, "journal.db"), Options{Reserve: 8 << 20})
	must(err)
	must(j.Commit(&Batch{Put: []Response{sample(0)}}))
	for fileSize(filepath.Join(dir, "journal.db.reserve")) < 8<<20 {
		time.Sleep(time.Millisecond)
	}
	f, err := os.Create(filepath.Join(dir, "flood"))
	must(err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	// The disk is full now; riposte has its reserve.
	n := 1
	for ; n < 100_000; n++ {
		if err = j.Commit(&Batch{Put: []Response{sample(n)}, Records: []Record{receipt(n, 2)}}); err != nil {
			break
		}
		if n == 1000 {
			if p := j.Problems(); len(p) == 0 || !strings.Contains(p[0], "full") {
				panic(fmt.Sprintf("the full disk is not said: %v", p))
			}
		}
	}
	if n < 1500 {
		panic(fmt.Sprintf("only %d commits after the disk was full: %v", n, err))
	}
	if err == nil || !isFull(err) {
		panic(fmt.Sprintf("a full disk is no error: %v", err))
	}
	must(errors.Join(f.Close(), os.Remove(f.Name())))
	must(j.Commit(&Batch{Put: []Response{sample(n)}}))
	must(j.Close())
	j, rep, err := Open(filepath.Join(dir, "journal.db"), Options{Reserve: -1})
	must(err)
	if len(rep.Words()) > 0 {
		panic(fmt.Sprint(rep.Words()))
	}
	left := 0
	must(j.Load(context.Background(), func(*Response) error { left++; return nil }))
	if left != n+1 {
		panic(fmt.Sprintf("%d of %d responses are left", left, n+1))
	}
	must(j.Close())
}

func TestAFullDiskIsSurvived(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a small file system in a namespace of its own")
	}
	cmd := rerun("fill-the-disk", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil {
		if errors.Is(err, syscall.EPERM) {
			t.Skip("no mount namespaces here:", err)
		}
		t.Fatalf("%v\n%s", err, out.String())
	}
}
