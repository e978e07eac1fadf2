// Package journald follows the systemd journal, through journalctl: systemd's
// own reader knows every version of the files, follows them through rotation,
// and needs no C library here.
package journald

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"riposte"
	"riposte/internal/host"
)

// Location is the location text of the events, as Wazuh has it.
const Location = "journald"

// Key is the source key of the batches.
const Key = "journald"

// maxBatch bounds the events of a batch.
const maxBatch = 256

// Options say what of the journal to follow.
type Options struct {
	// Position is where to go on, as the last batch told it; "" is the first
	// start, which begins with what comes from now on.
	Position string

	FromStart bool     // on the first start begin with the oldest entry there is
	Units     []string // only entries of these units
	Priority  string   // only entries of this priority or a graver one: "warning", "4"
	Matches   []string // only entries with these fields, "FIELD=value", in journalctl's sense
	Choices   []Choice // only entries that one of these takes; none: all
	Directory string   // read the journal files there, not the host's own journal
	Host      string   // host name for entries that have none
	Program   string   // journalctl; "": the one in PATH
	Log       *slog.Logger
}

// Source follows a journal.
type Source struct {
	opt      Options
	log      *slog.Logger
	program  string
	position string
	asked    []string // fields that the choices look at
}

// sincePrefix begins the position of a journal of which nothing was read yet:
// microseconds since 1970 follow.
const sincePrefix = "@"

// New makes a source. It fails where there is no journalctl.
func New(opt Options) (*Source, error) {
	s := &Source{opt: opt, log: opt.Log, program: opt.Program, position: opt.Position}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.program == "" {
		s.program = "journalctl"
	}
	path, err := exec.LookPath(s.program)
	if err != nil {
		return nil, fmt.Errorf("follow the journal: %w", err)
	}
	s.program = path
	s.asked = asked(opt.Choices)
	return s, nil
}

// Run follows the journal until ctx ends. When journalctl ends it is started
// again, where it was, after a pause that grows to half a minute.
func (s *Source) Run(ctx context.Context, out chan<- riposte.Batch) error {
	if s.position == "" && !s.opt.FromStart {
		// Told at once: what comes before the first entry is read would be missed
		// by a restart.
		s.position = sincePrefix + strconv.FormatInt(time.Now().UnixMicro(), 10)
		if !send(ctx, out, riposte.Batch{Source: Key, Position: s.position}) {
			return nil
		}
	}
	const shortest, longest = 100 * time.Millisecond, 30 * time.Second
	pause := shortest
	for {
		begin, before := time.Now(), s.position
		err := s.follow(ctx, out)
		if ctx.Err() != nil {
			return nil
		}
		if s.position != before || time.Since(begin) > longest {
			pause = shortest
		}
		s.log.Warn("journalctl ended, starting it again", "error", err, "pause", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
	}
}

// arguments returns what journalctl is called with.
func (s *Source) arguments() []string {
	// Without --merge, --follow means this boot only, and what was logged before
	// a reboot would be missed. --merge alone would take in other machines.
	args := []string{"--output=export", "--follow", "--merge", "--no-tail", "--no-pager", "--quiet",
		"--output-fields=" + strings.Join(append([]string{fields}, s.asked...), ",")}
	if since, ok := strings.CutPrefix(s.position, sincePrefix); ok {
		n, err := strconv.ParseInt(since, 10, 64)
		if err == nil {
			args = append(args, fmt.Sprintf("--since=@%d.%06d", n/1e6, n%1e6))
		}
	} else if s.position != "" {
		args = append(args, "--after-cursor="+s.position)
	}
	if s.opt.Directory != "" {
		args = append(args, "--directory="+s.opt.Directory)
	}
	if s.opt.Priority != "" {
		args = append(args, "--priority="+s.opt.Priority)
	}
	for _, u := range s.opt.Units {
		args = append(args, "--unit="+u)
	}
	return append(args, s.matches()...)
}

// matches returns the fields to match, in journalctl's syntax: "+" stands
// between alternatives. Each of them is limited to this machine.
func (s *Source) matches() []string {
	id, err := os.ReadFile("/etc/machine-id")
	if s.opt.Directory != "" || err != nil {
		return s.opt.Matches
	}
	machine := "_MACHINE_ID=" + strings.TrimSpace(string(id))
	out := []string{machine}
	for _, m := range s.opt.Matches {
		out = append(out, m)
		if m == "+" {
			out = append(out, machine)
		}
	}
	return out
}

// follow runs one journalctl to its end and says why it ended.
func (s *Source) follow(ctx context.Context, out chan<- riposte.Batch) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.program, s.arguments()...)
	host.OwnGroup(cmd)
	cmd.WaitDelay = time.Second
	said := &tail{}
	cmd.Stderr = said
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var nudging sync.WaitGroup
	nudging.Go(func() { nudge(ctx, cmd.Process) })
	err = s.read(ctx, stdout, out)
	cancel() // it may still run, when what it wrote could not be read
	nudging.Wait()
	ended := cmd.Wait()
	if err == nil || errors.Is(err, io.EOF) {
		err = ended
	}
	if err == nil {
		err = errors.New("it gave no reason")
	}
	if text := strings.TrimSpace(said.String()); text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// read makes batches of what journalctl writes, until it ends.
func (s *Source) read(ctx context.Context, in io.Reader, out chan<- riposte.Batch) error {
	r := newExportReader(in, s.asked)
	var events []riposte.Event
	for position := s.position; ; {
		e, err := r.next()
		if err == nil {
			position = e.cursor
			now := time.Now()
			if line := e.line(s.opt.Host, now); e.message != "" && s.takes(e, line) {
				events = append(events, riposte.Event{Time: now, Location: Location, Text: line, Cut: e.cut})
			}
		}
		// What was left out is told, too: nobody wants to read it again.
		if len(events) == maxBatch || position != s.position && (err != nil || !r.buffered()) {
			if !send(ctx, out, riposte.Batch{Source: Key, Position: position, Events: events}) {
				return ctx.Err()
			}
			s.position, events = position, nil
		}
		if err != nil {
			return err
		}
	}
}

func send(ctx context.Context, out chan<- riposte.Batch, b riposte.Batch) bool {
	select {
	case out <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

// tail keeps the end of what a program complains.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	const keep = 1 << 10
	t.b = append(t.b, p...)
	if len(t.b) > keep {
		t.b = bytes.Clone(t.b[len(t.b)-keep:])
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.b) }
