//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"riposte/bench/rig"
	"riposte/internal/fleet/identity"
)

// perSwarm is how many agents share a process: each takes two file descriptors,
// a socket and its spool, and 20,000 is a common limit.
const perSwarm = 2500

// crowd is all simulated agents.
type crowd struct {
	swarms []*process
	size   int
}

// process is a helper of the benchmark that is told what to do.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	mu  sync.Mutex
}

// helper starts this program in another role.
func helper(role string, flags uintptr, more ...string) (*process, error) {
	cmd := exec.Command("/proc/self/exe", append([]string{"-role", role}, more...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, in: in, out: bufio.NewReader(out)}, nil
}

// call tells a helper something and waits for the answer.
func (p *process) call(q, into any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, err := json.Marshal(q)
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		return err
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("a helper process has ended: %w", err)
	}
	return json.Unmarshal(line, into)
}

func (p *process) end() {
	_ = p.in.Close() // it ends by that
	_ = p.cmd.Wait() // what it has to say it has printed
}

// newCrowd makes the processes and their agents, and lets them connect.
func newCrowd(dir string, list []identity.Credentials, spool int64) (*crowd, error) {
	c := &crowd{size: len(list)}
	for part := range slices.Chunk(list, perSwarm) {
		p, err := helper("swarm", 0)
		if err != nil {
			return c, err
		}
		c.swarms = append(c.swarms, p)
		file := filepath.Join(dir, fmt.Sprintf("swarm-%d.json", len(c.swarms)))
		b, err := json.Marshal(part)
		if err == nil {
			err = os.WriteFile(file, b, 0o600)
		}
		if err != nil {
			return c, err
		}
	}
	_, err := c.all(func(i int) *ask {
		return &ask{Op: "start", File: filepath.Join(dir, fmt.Sprintf("swarm-%d.json", i+1)), Dir: dir, Spool: spool}
	})
	return c, err
}

// all tells every process something and adds up the answers.
func (c *crowd) all(q func(i int) *ask) (sum answer, err error) {
	answers := make([]answer, len(c.swarms))
	errs := make([]error, len(c.swarms))
	var calls sync.WaitGroup
	for i, p := range c.swarms {
		calls.Go(func() {
			if what := q(i); what != nil {
				errs[i] = p.call(what, &answers[i])
			}
		})
	}
	calls.Wait()
	for i, a := range answers {
		if a.Error != "" {
			errs[i] = errors.New(a.Error)
		}
		sum.Agents += a.Agents
		sum.Connected += a.Connected
		sum.Synced += a.Synced
		sum.Appended += a.Appended
		sum.Blocked += a.Blocked
		sum.Waiting += a.Waiting
		sum.Problems += a.Problems
		sum.Flooding = sum.Flooding || a.Flooding
		sum.Heard = append(sum.Heard, a.Heard...)
		if a.Last != "" {
			sum.Last = a.Last
		}
	}
	return sum, errors.Join(errs...)
}

func (c *crowd) status() (answer, error) {
	return c.all(func(int) *ask { return &ask{Op: "status"} })
}

// await waits until enough agents are as wanted.
func (c *crowd) await(ctx context.Context, what string, count func(answer) int) error {
	for {
		a, err := c.status()
		if err != nil {
			return err
		}
		if count(a) >= c.size {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d of %d agents are %s (last problem of %d: %s): %w", count(a), c.size, what, a.Problems, a.Last, ctx.Err())
		}
	}
}

func connectedOf(a answer) int { return a.Connected }
func syncedOf(a answer) int    { return a.Synced }

// usage adds up what the processes take.
func (c *crowd) usage() (sum rig.Usage, err error) {
	for _, p := range c.swarms {
		u, err := rig.UsageOf(p.cmd.Process.Pid)
		if err != nil {
			return sum, err
		}
		sum.CPU += u.CPU
		sum.Resident += u.Resident
	}
	return sum, nil
}

func (c *crowd) end() {
	for _, p := range c.swarms {
		p.end()
	}
}
