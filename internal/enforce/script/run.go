package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

const (
	drain    = 250 * time.Millisecond // for the output of children that outlive the script
	mercy    = 2 * time.Second        // between asking a script to end and ending it
	look     = 10 * time.Millisecond  // between two looks at whether the input was read
	busyFor  = 20 * time.Millisecond  // before a file that is still being written is tried again
	busyTry  = 5
	keepLine = 200 // characters of its output that an error repeats
)

// call is one run of a script.
type call struct {
	path string
	args []string // after the script's own name
	dir  string
	env  []string
	as   *account

	line    []byte // first line of the input; nil: no input at all
	reply   []byte // answer to check_keys; nil: the input ends after the first line
	anyLine bool   // the first line that the script prints is answered, whatever it says

	limit time.Duration // for the whole call
	keep  int           // bytes of its output

	// grace is how long a script that has read its line may take to ask
	// check_keys. After it the input ends, for a script that reads its input to
	// the end would wait for ever otherwise. A script that has not read its line
	// waits for nothing, and may take its time.
	grace time.Duration

	start func(*exec.Cmd) error // nil: (*exec.Cmd).Start
}

// ending is how a call ended.
type ending struct {
	err     error // not started, over the limit, stopped: anything but its own end
	exit    *os.ProcessState
	limit   time.Duration // the limit, if it was reached
	told    bool          // it was given an answer
	asked   bool          // it had asked for one with check_keys, well or badly
	keys    []string
	flaw    error // what was wrong with its check_keys
	read    bool  // it read the first line
	starved bool  // its input was ended because it asked nothing
	output  string
	took    time.Duration
}

// call makes the call that tells the script of st's generation to act.
func (r *Runner) call(path string, st *state, act riposte.Action) *call {
	c := &call{path: path, dir: workDir(r.o.Dir), env: environment(r.as), as: r.as, limit: r.o.Limit, grace: r.o.Grace, keep: r.o.Output}
	if st.Generation.arguments() {
		c.args = append([]string{act.String()}, st.Args...)
	}
	if st.Generation.message() {
		command := act.String()
		if st.Generation == Wazuh5 {
			command = map[riposte.Action]string{riposte.Add: "enable", riposte.Delete: "disable"}[act]
		}
		c.line = st.line(command)
		if act == riposte.Add {
			c.reply = st.line("continue")
			c.anyLine = st.Generation != Auto
		}
	}
	return c
}

// workDir is the installation's root when bin is its active-response/bin, as
// for Wazuh's own executor, else the folder itself.
func workDir(bin string) string {
	if up := filepath.Dir(bin); filepath.Base(bin) == "bin" && filepath.Base(up) == "active-response" {
		return filepath.Dir(up)
	}
	return bin
}

// run runs the script to its end, and its process group to its end if it takes
// too long or ctx ends. What a script leaves running on purpose is let be.
func (c *call) run(ctx context.Context) (end ending) {
	began := time.Now()
	out := capture{limit: c.keep}
	talk := &conversation{out: &out, anyLine: c.anyLine, asked: make(chan struct{})}
	defer func() {
		end.took = time.Since(began)
		end.output = out.String()
		end.told, end.asked, end.keys, end.flaw = talk.answered, talk.heard, talk.found.keys, talk.found.flaw
	}()

	p, err := c.launch(talk, &out)
	if err != nil {
		end.err = err
		return end
	}
	over := make(chan struct{})
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		if p.feed != nil {
			end.starved = c.feed(p, talk.asked, over)
		}
	}()
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()

	limit := time.NewTimer(c.limit)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		end.limit = c.limit
		end.err = fmt.Errorf("did not end within %v and was killed", c.limit)
		stop(p.cmd.Process, done)
	case <-ctx.Done():
		end.err = fmt.Errorf("was stopped: %w", ctx.Err())
		stop(p.cmd.Process, done)
	}
	if p.feed != nil {
		end.read = p.sent.Load() && unread(p.in) == 0
		p.in.Close()
	}
	close(over)
	<-fed
	talk.flush()
	end.exit = p.cmd.ProcessState
	return end
}

// process is a script that was started and the two ends of its input, nil when
// it has none. The reading end is kept to see what was read.
type process struct {
	cmd      *exec.Cmd
	in, feed *os.File
	sent     *atomic.Bool // the first line is in the pipe
}

// launch starts the script.
func (c *call) launch(stdout, stderr io.Writer) (p process, err error) {
	p.sent = new(atomic.Bool)
	start := c.start
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if c.line != nil {
		if p.in, p.feed, err = os.Pipe(); err != nil {
			return p, fmt.Errorf("has no input: %w", err)
		}
	}
	for try := 1; ; try++ {
		p.cmd = exec.Command(c.path, c.arguments()...)
		p.cmd.Dir, p.cmd.Env = c.dir, c.env
		p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
		p.cmd.WaitDelay = drain
		if p.in != nil {
			p.cmd.Stdin = p.in
		}
		if err = prepare(p.cmd, c.as); err == nil {
			err = start(p.cmd)
		}
		switch {
		case err == nil:
			return p, nil
		case busy(err) && try < busyTry:
			time.Sleep(busyFor) // somebody is just writing the file
			continue
		}
		if p.in != nil {
			p.in.Close()
			p.feed.Close()
		}
		return p, fmt.Errorf("could not be started: %w", explained(err))
	}
}

// explained says in words what the kernel says in one number about scripts.
func explained(err error) error {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%w: it is neither a program nor a text whose first line is #! and an interpreter", err)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: the interpreter that its first line names is missing, or the line ends in a carriage return", err)
	}
	return err
}

// stop ends the process group: first with a word, then without.
func stop(p *os.Process, done <-chan error) {
	terminate(p)
	t := time.NewTimer(mercy)
	defer t.Stop()
	select {
	case <-done:
		kill(p) // children that did not listen
	case <-t.C:
		kill(p)
		<-done
	}
	// They die in their own time. What undoes their work must not begin before.
	for range gone {
		if !running(p) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// gone is for how many milliseconds the end of a killed process group is waited
// for: where nobody collects the dead they stay in it.
const gone = 500

// feed writes the script's input and ends it. It reports whether it ended it
// because the script asked nothing. A script that reads none of it is none of
// its errors.
func (c *call) feed(p process, asked, over <-chan struct{}) (starved bool) {
	defer p.feed.Close()
	if !send(p.feed, c.line, over) {
		return false
	}
	p.sent.Store(true)
	if c.reply == nil {
		return false
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	since := time.Now() // when the line was last seen unread
	for {
		select {
		case <-asked:
			send(p.feed, c.reply, over)
			return false
		case <-over:
			return false
		case now := <-tick.C:
			if unread(p.in) > 0 {
				since = now
			} else if now.Sub(since) >= c.grace {
				return true
			}
		}
	}
}

// send writes b unless the script is over before it has taken it.
func send(f *os.File, b []byte, over <-chan struct{}) bool {
	written := make(chan error, 1)
	go func() {
		_, err := f.Write(b)
		written <- err
	}()
	select {
	case err := <-written:
		return err == nil
	case <-over:
		f.Close() // lets Write go
		<-written
		return false
	}
}

// conversation listens to what a script prints: a handshake is answered,
// everything else is output.
type conversation struct {
	out      *capture
	anyLine  bool
	asked    chan struct{} // closed when an answer is due
	answered bool
	heard    bool // there was a handshake, this one:
	found    handshake
	line     []byte // the line that is being printed
	long     bool   // it is too long to be a handshake, and is output already
}

func (c *conversation) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && !c.answered {
		part, rest, ended := bytes.Cut(p, []byte("\n"))
		p = rest
		if !c.long && len(c.line)+len(part) <= maxLine {
			c.line = append(c.line, part...)
		} else {
			c.long = true
			c.flush()
			c.out.Write(part)
		}
		if ended {
			c.consider()
		}
	}
	c.out.Write(p)
	return n, nil
}

// consider decides what the line is that has just ended.
func (c *conversation) consider() {
	h, ok := readHandshake(c.line)
	if ok {
		c.heard, c.found = true, h
	}
	if !ok || h.flaw != nil {
		c.flush()
		c.out.Write([]byte("\n"))
	}
	c.line, c.long = c.line[:0], false
	if ok || c.anyLine {
		c.answered = true
		close(c.asked)
	}
}

// flush makes what there is of a line output.
func (c *conversation) flush() {
	c.out.Write(c.line)
	c.line = c.line[:0]
}

// failure says in one error what was wrong with the call, nil if nothing was.
func (e *ending) failure(name string) error {
	switch {
	case e.err != nil:
		return fmt.Errorf("script %s %w%s", name, e.err, e.last())
	case e.exit.Success():
		return nil
	case e.broken():
		return fmt.Errorf("script %s ended by a signal (%s)%s", name, e.exit, e.last())
	case quirks[name].status:
		return nil
	}
	hint := ""
	if e.starved {
		hint = "; its input was ended because it had not asked check_keys"
	}
	return fmt.Errorf("script %s ended with status %d%s%s", name, e.exit.ExitCode(), hint, e.last())
}

// broken reports whether the script started and was cut short.
func (e *ending) broken() bool {
	return e.limit > 0 || e.err == nil && e.exit.ExitCode() < 0
}

// refused reports whether the script came to an end of its own and said no.
func (e *ending) refused() bool { return e.err == nil && e.exit.ExitCode() > 0 }

// last is the last line of the output, for an error.
func (e *ending) last() string {
	s := strings.TrimSpace(e.output)
	if s == "" {
		return ""
	}
	s = s[strings.LastIndexByte(s, '\n')+1:]
	return ": " + enforce.Cut(s, keepLine)
}
