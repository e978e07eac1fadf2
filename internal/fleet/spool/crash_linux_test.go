package spool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lives is the variable that makes the test binary live one of these lives
// instead of running its tests.
const lives = "RIPOSTE_SPOOL_LIFE"

func TestMain(m *testing.M) {
	switch os.Getenv(lives) {
	case "":
		os.Exit(m.Run())
	case "append":
		exitWith(appendForEver(os.Args[1]))
	case "full":
		exitWith(fillTheDisk(os.Args[1]))
	}
}

func exitWith(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func life(t *testing.T, kind, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, dir)
	cmd.Env = append(os.Environ(), lives+"="+kind)
	cmd.Stderr = os.Stderr
	return cmd
}

var small = Options{MaxBytes: 1 << 20, SegmentBytes: 4096}

// together is the last of the records that belong together with n: three behind
// each other, and then two that stand alone.
func together(n uint64) uint64 {
	if n >= 5 && n%5 <= 2 {
		return n - n%5 + 2
	}
	return n
}

// appendForEver says of each record when it is in the spool, and of some that
// they are acknowledged.
func appendForEver(dir string) error {
	s, err := Open(dir, small)
	if err != nil {
		return err
	}
	ctx := context.Background()
	for {
		var payloads [][]byte
		first := s.last + 1
		for n := first; n <= together(first); n++ {
			payloads = append(payloads, []byte(strings.Repeat(strconv.FormatUint(n, 10)+" ", 20)))
		}
		last, err := s.AppendAll(ctx, payloads, map[string]string{"file:/log": strconv.FormatUint(together(first), 10)})
		if err != nil {
			return err
		}
		for n := first; n <= last; n++ {
			fmt.Println("appended", n)
			if n%7 == 0 {
				if err := s.Ack(n - 3); err != nil {
					return err
				}
				fmt.Println("acked", n-3)
			}
		}
	}
}

func TestKilled(t *testing.T) {
	dir := t.TempDir()
	var appended, acked uint64
	for round := range 3 {
		cmd := life(t, "append", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for i := 0; lines.Scan(); i++ {
			what, text, _ := strings.Cut(lines.Text(), " ")
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if what == "acked" {
				acked = n
			} else if n != appended+1 && i > 0 {
				t.Fatalf("record %d after %d", n, appended)
			} else {
				appended = n
			}
			if i == 150+37*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // it was killed
		s, err := Open(dir, small)
		if err != nil {
			t.Fatal(err)
		}
		if w := s.Report().Words(); w != "" {
			t.Errorf("a kill left damage: %s", w)
		}
		said := together(appended)
		if s.last != said && s.last != together(said+1) || s.Acked() < acked || s.Acked() > appended {
			t.Errorf("up to record %d, acknowledged up to %d; it said %d and %d", s.last, s.Acked(), appended, acked)
		}
		if got := s.Positions()["file:/log"]; got != strconv.FormatUint(s.last, 10) {
			t.Errorf("position %s behind record %d", got, s.last)
		}
		want := s.Acked() + 1
		for _, r := range rest(t, s, 0) {
			if r.N != want || !strings.HasPrefix(string(r.Payload), fmt.Sprint(want, " ")) {
				t.Errorf("record %d:%.9q, want %d", r.N, r.Payload, want)
			}
			want++
		}
		if want != s.last+1 {
			t.Errorf("records up to %d, want %d", want-1, s.last)
		}
		appended, acked = s.last, s.Acked()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// fillTheDisk uses the spool on a disk that is full, where only room that it
// frees itself is left.
func fillTheDisk(dir string) error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep the mount to this process: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		return fmt.Errorf("mount a small disk: %w", err)
	}
	dir = filepath.Join(dir, "spool")
	s, err := Open(dir, small)
	if err != nil {
		return err
	}
	ctx := context.Background()
	var last uint64
	for range 3 { // until the disk is full, three times over
		for {
			n, err := s.Append(ctx, make([]byte, 1000), map[string]string{"f": fmt.Sprint(last + 1)})
			if errors.Is(err, syscall.ENOSPC) {
				break
			}
			if err != nil {
				return err
			}
			if n != last+1 {
				return fmt.Errorf("record %d after %d", n, last)
			}
			last = n
		}
		if p := s.Positions()["f"]; p != fmt.Sprint(last) {
			return fmt.Errorf("position %s behind record %d: what was not taken is noted", p, last)
		}
		if st := s.Stats(); uint64(st.Records) != last-s.Acked() {
			return fmt.Errorf("%d records, acknowledged up to %d of %d", st.Records, s.Acked(), last)
		}
		// The note of it may not fit, the room is there all the same.
		if err := s.Ack(last - 10); err != nil && !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
	if last < 200 {
		return fmt.Errorf("only %d records", last)
	}
	acked := s.Acked()
	if err := s.Close(); err != nil {
		return err
	}
	if s, err = Open(dir, small); err != nil {
		return err
	}
	r, err := s.Next(ctx, acked)
	if err != nil || r.N != acked+1 || s.Positions()["f"] != fmt.Sprint(last) || s.Report() != (Report{}) {
		return fmt.Errorf("after a restart: record %d, %w, position %s; want %d, %d; %+v", r.N, err, s.Positions()["f"], acked+1, last, s.Report())
	}
	return s.Close()
}

func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a small disk of its own")
	}
	cmd := life(t, "full", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	cmd.WaitDelay = time.Minute
	if out, err := cmd.Output(); err != nil {
		if errors.Is(err, syscall.EPERM) {
			t.Skip("needs the right to make a mount namespace")
		}
		t.Fatalf("%v\n%s", err, out)
	}
}
