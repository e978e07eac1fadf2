package file

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"riposte"
)

// rotations is how often the stress tests rotate.
const rotations = 1000

// writeAndRotate writes numbered lines as fast as it can and rotates after each
// hundred or so. It returns how many lines it wrote.
func writeAndRotate(t *testing.T, r *rig, name string, rotate func(i, lines int)) int {
	rng := rand.New(rand.NewPCG(7, 7))
	n := 0
	for i := range rotations {
		f, err := os.OpenFile(r.path(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			t.Error(err)
			return n
		}
		for left := 1 + rng.IntN(200); left > 0; {
			// Several lines in one write, or one line in several.
			var b strings.Builder
			for k := 1 + rng.IntN(8); k > 0; k-- {
				n++
				fmt.Fprintf(&b, "%09d Nov 23 06:00:00 web1 sshd[42]: Failed password for root from 192.0.2.7\n", n)
				left--
			}
			text := b.String()
			at := rng.IntN(len(text))
			if _, err := f.WriteString(text[:at]); err != nil {
				t.Error(err)
			}
			if _, err := f.WriteString(text[at:]); err != nil {
				t.Error(err)
			}
		}
		_ = f.Close()
		rotate(i, n)
	}
	return n
}

func TestThousandRotationsUnderLoad(t *testing.T) {
	// As logrotate does with "rotate 100".
	shift := func(r *rig, done int) {
		for i := min(done, 100); i > 0; i-- {
			r.rename(fmt.Sprintf("a.log.%d", i), fmt.Sprintf("a.log.%d", i+1))
		}
	}
	var read atomic.Int64 // lines that came so far
	caughtUp := func(lines int64) {
		for deadline := time.Now().Add(20 * time.Second); read.Load() < lines && time.Now().Before(deadline); {
			time.Sleep(50 * time.Microsecond)
		}
	}
	f := func(name string, polled bool, rotate func(r *rig, i, lines int)) {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.polled = polled
			r.write("a.log", "")
			r.run(Input{Location: "a.log"})
			r.told(1)
			r.quiet("a.log") // an empty file has nothing by which a copy of it could be known
			total := make(chan int, 1)
			begin := time.Now()
			read.Store(0)
			go func() { total <- writeAndRotate(t, r, "a.log", func(i, lines int) { rotate(r, i, lines) }) }()
			got, want := 0, -1
			for got != want {
				select {
				case want = <-total:
				case b := <-r.out:
					for i := range b.Events {
						n, err := strconv.Atoi(b.Events[i].Text[:9])
						if err != nil || n != got+1 {
							t.Fatalf("after line %d comes %.60q; logged:\n%s", got, b.Events[i].Text, r.log)
						}
						got = n
					}
					read.Store(int64(got))
				case <-time.After(20 * time.Second):
					t.Fatalf("%d lines of %d came; logged:\n%s", got, want, r.log)
				}
			}
			r.quiet("a.log")
			t.Logf("%d lines through %d rotations in %v", got, rotations, time.Since(begin).Round(time.Millisecond))
		})
	}
	// Of a hundred that are kept the reader is never more than half behind: what is
	// deleted before anybody could open it is lost.
	var ends []int64 // lines at the end of each file
	f("rename with counters", false, func(r *rig, i, lines int) {
		if ends = append(ends, int64(lines)); i >= 50 {
			caughtUp(ends[i-50])
		}
		shift(r, i)
		r.rename("a.log", "a.log.1")
	})
	f("rename with times", false, func(r *rig, i, _ int) {
		r.rename("a.log", fmt.Sprintf("a.log-20261123-%04d", i))
	})
	f("rename with times, polled", true, func(r *rig, i, _ int) {
		r.rename("a.log", fmt.Sprintf("a.log-20261123-%04d", i))
	})
	// The writer waits for its reader before it truncates: what was not read by
	// then may be lost, see the package's comment.
	f("copy and truncate", false, func(r *rig, i, lines int) {
		caughtUp(int64(lines))
		shift(r, i)
		r.copyTruncate("a.log", "a.log.1")
	})
}

// followInChild is the process that TestKilledInTheMiddle kills: it follows
// with the positions on its standard input and writes what it gets, a batch a
// line, to its standard output.
func followInChild() {
	var positions map[string]string
	if err := json.NewDecoder(os.Stdin).Decode(&positions); err != nil {
		os.Exit(2)
	}
	f, err := New(Options{Inputs: []Input{{Location: os.Getenv("RIPOSTE_FOLLOW")}}, Positions: positions, Poll: 20 * time.Millisecond})
	if err != nil {
		os.Exit(3)
	}
	out := make(chan riposte.Batch)
	go func() { _ = f.Run(context.Background(), out) }()
	enc := json.NewEncoder(os.Stdout)
	for b := range out {
		if err := enc.Encode(b); err != nil {
			os.Exit(4)
		}
	}
}

// The reader is killed at any instant, again and again, while the file grows
// and is rotated. Whoever keeps batch and position together gets every line
// exactly once.
func TestKilledInTheMiddle(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "")
	r.run(Input{Location: "a.log"})
	r.told(1)
	r.halt()
	const rounds, perRound = 15, 3000
	done := make(chan struct{})
	go func() {
		defer close(done)
		n := 0
		for i := range rounds {
			for k := 0; k < perRound; k += 10 {
				var b strings.Builder
				for range 10 {
					n++
					fmt.Fprintf(&b, "%09d Nov 23 06:00:00 web1 sshd[42]: Failed password for root from 192.0.2.7\n", n)
				}
				r.append("a.log", b.String())
				if k%100 == 0 {
					time.Sleep(time.Millisecond) // so that several readers live and die meanwhile
				}
			}
			r.rename("a.log", fmt.Sprintf("a.log-20261123-%04d", i))
			r.write("a.log", "")
		}
	}()
	rng := rand.New(rand.NewPCG(1, 1))
	got, kills := 0, 0
	for got < rounds*perRound {
		if kills++; kills > 500 {
			t.Fatalf("no progress: %d lines", got)
		}
		lifetime := time.Duration(5+rng.IntN(60)) * time.Millisecond
		if kills > 100 {
			lifetime = time.Second // a slow machine
		}
		got = r.lifetime(lifetime, got)
	}
	<-done
	t.Logf("%d lines by %d processes", got, kills)
}

// lifetime starts a follower process, kills it after d, and checks that what it
// wrote goes on after line got.
func (r *rig) lifetime(d time.Duration, got int) int {
	r.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RIPOSTE_FOLLOW="+r.path("a.log"))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	if err := json.NewEncoder(stdin).Encode(r.positions); err != nil {
		r.t.Fatal(err)
	}
	timer := time.AfterFunc(d, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	in := bufio.NewReader(stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			break // what is left is half a batch: nobody has it
		}
		if err != nil {
			r.t.Fatal(err)
		}
		var b riposte.Batch
		if err := json.Unmarshal(line, &b); err != nil {
			r.t.Fatal(err)
		}
		for _, ev := range b.Events {
			n, err := strconv.Atoi(ev.Text[:9])
			if err != nil || n != got+1 {
				r.t.Fatalf("after line %d comes %.60q", got, ev.Text)
			}
			got = n
		}
		r.positions[b.Source] = b.Position
	}
	_ = cmd.Wait()
	return got
}
