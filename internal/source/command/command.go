// Package command makes events of what a command prints, run again and again:
// log_format command and full_command of ossec.conf. The command is the
// administrator's own text and goes to the shell as it does in OSSEC and Wazuh;
// nothing that a log or a peer says ever becomes part of it.
package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"time"

	"riposte"
	"riposte/internal/source/lines"
)

// Options say what to run and how often.
type Options struct {
	Command string
	Alias   string        // stands for the command in the events; "": the command itself
	Every   time.Duration // between two starts; 0: six minutes, as in OSSEC
	Whole   bool          // full_command: all that is printed makes one event
	Limit   time.Duration // after which the command is killed; 0: a minute
	Max     int           // bytes of output that are read; 0: one mebibyte
	Log     *slog.Logger  // nil: nothing
}

// Source runs one command.
type Source struct{ o Options }

// New returns a source. The command runs for the first time when Run begins.
func New(o Options) *Source {
	if o.Alias == "" {
		o.Alias = o.Command
	}
	if o.Every <= 0 {
		o.Every = 6 * time.Minute
	}
	if o.Limit <= 0 {
		o.Limit = time.Minute
	}
	if o.Max <= 0 {
		o.Max = 1 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Source{o: o}
}

// Key is the source key of a command.
func Key(command string) string { return "command:" + command }

// Run runs the command until ctx ends. A command that fails is tried again at
// its next time; what it printed until then makes events all the same.
func (s *Source) Run(ctx context.Context, out chan<- riposte.Batch) error {
	tick := time.NewTicker(s.o.Every)
	defer tick.Stop()
	for {
		text, err := s.output(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			s.o.Log.Warn("command", "command", s.o.Alias, "error", err)
		}
		if evs := s.events(text, time.Now()); len(evs) > 0 {
			select {
			case out <- riposte.Batch{Source: Key(s.o.Command), Events: evs}:
			case <-ctx.Done():
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// output runs the command once.
func (s *Source) output(ctx context.Context) (string, error) {
	limit, cancel := context.WithTimeout(ctx, s.o.Limit)
	defer cancel()
	cmd := shell(limit, s.o.Command)
	cmd.WaitDelay = time.Second
	buf := &bounded{max: s.o.Max}
	cmd.Stdout = buf
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case limit.Err() != nil && ctx.Err() == nil:
		err = fmt.Errorf("killed after %v", s.o.Limit)
	case errors.As(err, &exit):
		err = nil // commands such as grep end with a status of their own
	}
	return buf.String(), err
}

// events makes events of what was printed, in OSSEC's form.
func (s *Source) events(text string, now time.Time) []riposte.Event {
	prefix := fmt.Sprintf("ossec: output: '%s': ", s.o.Alias)
	if s.o.Whole {
		text = strings.TrimRight(text, "\r\n")
		if text == "" {
			return nil
		}
		prefix = fmt.Sprintf("ossec: output: '%s':\n", s.o.Alias)
		cut := len(text) > lines.Max
		return []riposte.Event{{Time: now, Location: s.o.Alias, Text: prefix + text[:min(len(text), lines.Max)], Cut: cut}}
	}
	var out []riposte.Event
	for l := range strings.SplitSeq(text, "\n") {
		if l = strings.TrimSuffix(l, "\r"); l == "" {
			continue
		}
		out = append(out, riposte.Event{Time: now, Location: s.o.Alias, Text: prefix + l[:min(len(l), lines.Max)], Cut: len(l) > lines.Max})
	}
	return out
}

// bounded keeps the first max bytes.
type bounded struct {
	strings.Builder
	max int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.Builder.Write(p[:min(len(p), b.max-b.Len())]) // never fails
	return len(p), nil
}
