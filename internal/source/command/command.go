// Package command runs a command again and again and makes events of what it
// prints: log_format command and full_command of ossec.conf. The command is the
// administrator's own text and goes to the shell, as in OSSEC and Wazuh; nothing
// that a log or a peer says ever becomes part of it.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"time"

	"riposte"
	"riposte/internal/host"
	"riposte/internal/source/lines"
)

// Options says what to run.
type Options struct {
	Command  string        // a line for the system's shell
	Alias    string        // stands for the command in the events; "": the command itself
	Full     bool          // all that is printed is one event; otherwise each line
	Interval time.Duration // from start to start; 0: six minutes, as OSSEC has it
	Timeout  time.Duration // a run may take so long; 0: a minute
	Log      *slog.Logger
}

// maxOutput bounds what one run may print; the rest is thrown away. All of it
// as one event may be no longer than a line.
const maxOutput = 1 << 20

// maxBatch bounds the events of a batch.
const maxBatch = 256

// Source runs one command.
type Source struct {
	opt  Options
	name string
	log  *slog.Logger
}

// New makes a source.
func New(opt Options) (*Source, error) {
	if opt.Command == "" {
		return nil, errors.New("run a command: none given")
	}
	s := &Source{opt: opt, name: opt.Alias, log: opt.Log}
	if s.name == "" {
		s.name = opt.Command
	}
	if s.opt.Interval <= 0 {
		s.opt.Interval = 6 * time.Minute
	}
	if s.opt.Timeout <= 0 {
		s.opt.Timeout = time.Minute
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// Run runs the command at once and then at every interval, until ctx ends. A
// run that takes longer than the interval delays the next one. There is no
// position.
func (s *Source) Run(ctx context.Context, out chan<- riposte.Batch) error {
	ticker := time.NewTicker(s.opt.Interval)
	defer ticker.Stop()
	for {
		printed, cut, err := s.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			s.log.Warn("command failed", "command", s.name, "error", err)
		}
		// Half of what makes one event would look like a change of the whole;
		// lines that came in time are what they are.
		if err == nil || !s.opt.Full {
			if !s.send(ctx, out, printed, cut) {
				return nil
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// once runs the command and returns what it printed. Its exit status means
// nothing: grep has one for not finding anything.
func (s *Source) once(ctx context.Context) (printed []byte, cut bool, err error) {
	limit, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	cmd := shell(limit, s.opt.Command)
	host.OwnGroup(cmd)
	cmd.WaitDelay = time.Second
	output := &bounded{}
	cmd.Stdout = output
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case limit.Err() != nil:
		err = fmt.Errorf("killed, it did not end within %v", s.opt.Timeout)
	case errors.As(err, &exit), errors.Is(err, exec.ErrWaitDelay):
		err = nil
	}
	return output.kept.Bytes(), output.cut, err
}

// bounded keeps the beginning of what a command prints. The buffer is a field,
// not embedded: its ReadFrom would let everything in.
type bounded struct {
	kept bytes.Buffer
	cut  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := maxOutput - b.kept.Len()
	b.cut = b.cut || len(p) > room
	b.kept.Write(p[:min(len(p), room)]) // never fails
	return len(p), nil
}

// send makes events as OSSEC does, "ossec: output: 'df -h': /dev/sda1 …", and
// reports whether they were taken.
func (s *Source) send(ctx context.Context, out chan<- riposte.Batch, printed []byte, cut bool) bool {
	now := time.Now()
	var events []riposte.Event
	add := func(text string, cut bool) {
		events = append(events, riposte.Event{Time: now, Location: s.name, Text: text, Cut: cut})
	}
	if s.opt.Full {
		if text := bytes.TrimRight(printed, "\r\n"); len(text) > 0 {
			add("ossec: output: '"+s.name+"':\n"+string(text[:min(len(text), lines.Max)]), cut || len(text) > lines.Max)
		}
	} else {
		split := lines.NewSplitter(lines.Max, false)
		for _, l := range split.Flush(split.Split(nil, printed)) {
			if l.Text != "" {
				add("ossec: output: '"+s.name+"': "+l.Text, l.Cut)
			}
		}
	}
	for len(events) > 0 {
		n := min(len(events), maxBatch)
		select {
		case out <- riposte.Batch{Source: "command:" + s.name, Events: events[:n:n]}:
		case <-ctx.Done():
			return false
		}
		events = events[n:]
	}
	return true
}
