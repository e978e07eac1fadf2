package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"riposte"
	"riposte/internal/alertlog"
	"riposte/internal/api"
	"riposte/internal/ossec/conf"
	"riposte/internal/settings"
	"riposte/internal/source/alerts"
	"riposte/internal/source/command"
	"riposte/internal/source/devlog"
	"riposte/internal/source/file"
	"riposte/internal/source/journald"
	"riposte/internal/source/stdin"
	"riposte/internal/source/syslog"
)

// runner is a source: it sends what it reads until ctx ends, and returns an
// error when it cannot go on.
type runner interface {
	Run(ctx context.Context, out chan<- riposte.Batch) error
}

// input is one source of the daemon. key says what it reads and how: a reload
// leaves a source with an unchanged key alone.
type input struct {
	key    string
	name   string
	detail string
	open   func(positions map[string]string) (runner, error)
	ended  func(error) // of an input that has an end: told why; nil: it has none

	events atomic.Uint64
	mu     sync.Mutex
	err    error // why it does not run now
	cancel context.CancelFunc
	done   chan struct{}

	begin sync.Once
	begun chan struct{} // closed when it knows where it begins; nil: it does not tell
}

// settled waits until the input knows where it begins to read, so that what is
// written from then on is read; and no longer than patience.
func (in *input) settled(ctx context.Context, patience time.Duration) {
	if in.begun == nil {
		return
	}
	select {
	case <-in.begun:
	case <-ctx.Done():
	case <-time.After(patience):
	}
}

func (in *input) set(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.err = err
}

// status describes the input.
func (in *input) status() api.Source {
	s := api.Source{Name: in.name, Detail: in.detail, Events: in.events.Load()}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil {
		s.Error = in.err.Error()
	}
	return s
}

// restartPause is how long a source that failed rests at first; the pause
// doubles up to a minute.
const restartPause = 250 * time.Millisecond

// run keeps the input going until ctx ends, or the input does.
func (in *input) run(ctx context.Context, positions func() map[string]string, out chan<- riposte.Batch, log *slog.Logger) {
	pause := restartPause
	for {
		started := time.Now()
		err := in.once(ctx, positions(), out)
		if ctx.Err() != nil {
			return
		}
		if in.ended != nil {
			in.set(err)
			in.ended(err)
			return
		}
		if err == nil {
			err = errors.New("ended without being asked to")
		}
		if time.Since(started) > time.Minute {
			pause = restartPause
		}
		in.set(err)
		log.Warn("source does not run", "source", in.name, "error", err, "next_try_in", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Minute)
	}
}

func (in *input) once(ctx context.Context, positions map[string]string, out chan<- riposte.Batch) error {
	r, err := in.open(positions)
	if err != nil {
		return err
	}
	in.set(nil)
	counted := make(chan riposte.Batch)
	done := make(chan error, 1)
	go func() {
		done <- r.Run(ctx, counted)
		close(counted)
	}()
	for b := range counted {
		if in.begun != nil {
			in.begin.Do(func() { close(in.begun) })
		}
		in.events.Add(uint64(len(b.Events)))
		select {
		case out <- b:
		case <-ctx.Done():
			for range counted { // let the source see that ctx ended
			}
		}
	}
	return <-done
}

// wanted lists what the world says is to be read.
func (d *Daemon) wanted(w *World) ([]*input, error) {
	if d.clustered() {
		return d.fleetInputs(), nil
	}
	log := d.log
	var out []*input
	var files []file.Input
	var names, keys []string
	var journal []conf.LocalFile
	for _, lf := range w.Config.LocalFiles {
		switch lf.Format {
		case "command", "full_command":
			out = append(out, commandInput(lf, log))
			continue
		case "journald":
			journal = append(journal, lf)
			continue
		case "eventchannel", "eventlog", "macos":
			continue // check says that nothing reads them
		}
		for _, loc := range lf.Locations {
			in, err := fileInput(&lf, loc, w.Settings.Root)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", lf.Pos, err)
			}
			files = append(files, in)
			names = append(names, in.Location)
			keys = append(keys, describe(&in, &lf))
		}
	}
	if len(files) > 0 {
		out = append(out, &input{
			key: fmt.Sprintf("files %q", keys), name: "files", detail: fileDetail(names), begun: make(chan struct{}),
			open: func(positions map[string]string) (runner, error) {
				return file.New(file.Options{Inputs: files, Positions: positions, Log: log})
			},
		})
	}
	if len(journal) > 0 || w.Settings.Sources.Journald.Enabled {
		out = append(out, journalInput(w, journal, log))
	}
	for _, r := range w.Config.Remotes {
		if r.Syslog {
			out = append(out, syslogInputs(r, log)...)
		}
	}
	for _, f := range w.Settings.Sources.Alerts {
		out = append(out, d.alertsInput(f))
	}
	if d.opt.Input != nil {
		out = append(out, d.streamInput())
	}
	if d.server != nil {
		out = append(out, d.server.noticesInput())
	}
	if w.Builtin && devlogFree() {
		out = append(out, devlogInput(w))
	}
	return out, nil
}

// devlogFree reports whether local programs log into nothing: there is neither
// a journal nor a syslog daemon.
func devlogFree() bool {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return false
	}
	c, err := net.Dial("unixgram", devlog.Path)
	if err == nil {
		_ = c.Close()
	}
	return err != nil
}

// fileDetail says which of the locations are there.
func fileDetail(locations []string) string {
	var there, awaited []string
	for _, l := range locations {
		paths, err := filepath.Glob(l)
		switch {
		case err == nil && len(paths) == 0 && !strings.Contains(l, "%"):
			awaited = append(awaited, l)
		case len(paths) > 1:
			there = append(there, fmt.Sprintf("%s (%d files)", l, len(paths)))
		default:
			there = append(there, l)
		}
	}
	switch {
	case len(awaited) == 0:
		return strings.Join(there, ", ")
	case len(there) == 0:
		return "none there yet; waiting for " + strings.Join(awaited, ", ")
	}
	return strings.Join(there, ", ") + "; waiting for " + strings.Join(awaited, ", ")
}

// describe is what makes one followed location differ from another.
func describe(in *file.Input, lf *conf.LocalFile) string {
	text := fmt.Sprintf("%q %s %d %q %q", in.Location, lf.Format, lf.Lines, in.Exclude, choiceKey(lf)+members(lf.Labels))
	if m := lf.Multiline; m != nil {
		text += fmt.Sprintf(" %q %s %s %v", m.Text, m.Match, m.Replace, m.Timeout)
	}
	return text
}

// choiceKey is what makes the choice of one <localfile> differ from another's.
func choiceKey(lf *conf.LocalFile) string {
	var b strings.Builder
	for _, f := range lf.Filters {
		fmt.Fprintf(&b, "filter %q %q %v ", f.Field, f.Text, f.Missing)
	}
	for _, l := range lf.Ignore {
		fmt.Fprintf(&b, "ignore %d %q ", l.Syntax, l.Text)
	}
	for _, l := range lf.Restrict {
		fmt.Fprintf(&b, "restrict %d %q ", l.Syntax, l.Text)
	}
	return b.String()
}

// keep reports which records of a <localfile> become events: those that no
// <ignore> and every <restrict> matches, as in Wazuh. nil: all.
func keep(lf *conf.LocalFile) func(string) bool {
	if len(lf.Ignore)+len(lf.Restrict) == 0 {
		return nil
	}
	return func(record string) bool {
		matches := func(l conf.Line) bool { return l.Pattern.Match(record) }
		return !slices.ContainsFunc(lf.Ignore, matches) && !slices.ContainsFunc(lf.Restrict, func(l conf.Line) bool { return !matches(l) })
	}
}

func fileInput(lf *conf.LocalFile, location, root string) (file.Input, error) {
	if !filepath.IsAbs(location) {
		location = filepath.Join(root, location)
	}
	format := lf.Format
	if lf.Lines > 0 {
		format = fmt.Sprintf("%s:%d", format, lf.Lines)
	}
	in := file.Input{Location: location, Exclude: strings.Join(lf.Exclude, ","), Keep: keep(lf)}
	var err error
	if in.Format, in.Framing, err = file.ParseFormat(format); err != nil {
		return in, err
	}
	if in.Format == riposte.FormatJSON {
		in.Members = members(lf.Labels)
	}
	if m := lf.Multiline; m != nil {
		match := m.Pattern.Match
		switch m.Match {
		case "end":
			in.Framing.End = match
		case "all":
			in.Framing.All = match
		default:
			in.Framing.Start = match
		}
		in.Framing.Wait = m.Timeout
		in.Framing.Glue = map[string]string{"no-replace": "\n", "none": "", "wspace": " ", "tab": "\t"}[m.Replace]
	}
	return in, nil
}

// members writes labels as members of a JSON object.
func members(labels []conf.Label) string {
	var out []string
	for _, l := range labels {
		key, _ := json.Marshal(l.Key) // a string always can be written
		value, _ := json.Marshal(l.Value)
		out = append(out, string(key)+":"+string(value))
	}
	return strings.Join(out, ",")
}

// syslogInputs listen for the syslog messages of other machines, one input for
// each protocol of a <remote>.
func syslogInputs(r conf.Remote, log *slog.Logger) []*input {
	ip := ""
	if r.LocalIP.IsValid() {
		ip = r.LocalIP.String()
	} else if !r.IPv6 {
		ip = "0.0.0.0"
	}
	address := net.JoinHostPort(ip, strconv.Itoa(r.Port))
	var out []*input
	for _, p := range []struct {
		on   bool
		name string
	}{{r.UDP, "udp"}, {r.TCP, "tcp"}} {
		if !p.on {
			continue
		}
		o := syslog.Options{Network: p.name, Address: address, Allowed: r.Allowed, Denied: r.Denied, Log: log}
		out = append(out, &input{
			key: fmt.Sprint("syslog ", o.Network, o.Address, o.Allowed, o.Denied), name: "syslog",
			detail: fmt.Sprintf("%s %s, from %v", p.name, address, r.Allowed),
			open:   func(map[string]string) (runner, error) { return syslog.Listen(o) },
		})
	}
	return out
}

// commandInput runs a command of the configuration.
func commandInput(lf conf.LocalFile, log *slog.Logger) *input {
	o := command.Options{Command: lf.Command, Alias: lf.Alias, Interval: lf.Frequency, Full: lf.Format == "full_command", Log: log}
	return &input{
		key: fmt.Sprintf("command %q %q %v %v", o.Command, o.Alias, o.Interval, o.Full), name: "command", detail: first(o.Alias, o.Command),
		open: func(map[string]string) (runner, error) { return command.New(o) },
	}
}

// journalInput is the system's journal: what any of the <localfile> of journald
// chooses, or all of it when there are none.
func journalInput(w *World, chosen []conf.LocalFile, log *slog.Logger) *input {
	units := w.Settings.Sources.Journald.Units
	detail, filters := "the system's journal", 0
	if len(units) > 0 {
		detail += ", units " + strings.Join(units, ", ")
	}
	var choices []journald.Choice
	key := fmt.Sprintf("journald %q", units)
	for i := range chosen {
		lf := &chosen[i]
		c := journald.Choice{Keep: keep(lf)}
		for _, f := range lf.Filters {
			c.Filters = append(c.Filters, journald.Filter{Field: f.Field, Match: f.Pattern.Match, Missing: f.Missing})
		}
		filters += len(lf.Filters) + len(lf.Ignore) + len(lf.Restrict)
		choices = append(choices, c)
		key += fmt.Sprintf(" %q", choiceKey(lf))
	}
	if filters > 0 {
		detail += ", filtered"
	}
	return &input{
		key: key, name: "journald", detail: detail,
		open: func(positions map[string]string) (runner, error) {
			return journald.New(journald.Options{
				Position: positions[journald.Key], Units: units, Choices: choices, Host: w.Settings.HostName(), Log: log,
			})
		},
	}
}

// streamInput is a stream of lines with an end.
func (d *Daemon) streamInput() *input {
	return &input{
		key: "stdin", name: "standard input", detail: "until it ends",
		open:  func(map[string]string) (runner, error) { return stdin.New(stdin.Options{Input: d.opt.Input}), nil },
		ended: func(err error) { d.ended <- err },
	}
}

// alertsInput follows the alerts of another engine. They go straight to the
// responses; that engine has logged them.
func (d *Daemon) alertsInput(f settings.AlertFile) *input {
	in := &input{key: "alerts " + f.Path, name: "alerts of " + f.Dialect.String(), detail: f.Path}
	in.open = func(positions map[string]string) (runner, error) {
		src, err := alerts.New(alerts.Options{Path: f.Path, Parse: alertlog.Parse, Positions: positions, Log: d.log})
		if err != nil {
			return nil, err
		}
		return runnerFunc(func(ctx context.Context, _ chan<- riposte.Batch) error { return d.follow(ctx, in, src) }), nil
	}
	return in
}

// runnerFunc makes a runner of a function.
type runnerFunc func(context.Context, chan<- riposte.Batch) error

func (f runnerFunc) Run(ctx context.Context, out chan<- riposte.Batch) error { return f(ctx, out) }

// follow answers the alerts of another engine until ctx ends.
func (d *Daemon) follow(ctx context.Context, in *input, src *alerts.Source) error {
	batches, done := make(chan alerts.AlertBatch), make(chan error, 1)
	go func() {
		done <- src.Run(ctx, batches)
		close(batches)
	}()
	for b := range batches {
		in.events.Add(uint64(len(b.Alerts)))
		for _, a := range b.Alerts {
			a.Log = false
		}
		d.answer(b.Alerts)
		d.positions.set(b.Source, b.Position)
	}
	return <-done
}

// devlogInput is the local syslog socket, for hosts where nobody else has it.
func devlogInput(w *World) *input {
	return &input{
		key: "devlog", name: "syslog socket", detail: devlog.Path + " (no syslog daemon runs here)",
		open: func(map[string]string) (runner, error) { return devlog.Listen(devlog.Path, w.Settings.HostName()) },
	}
}

// sameKey finds the running input that reads the same.
func sameKey(running []*input, key string) *input {
	if i := slices.IndexFunc(running, func(in *input) bool { return in.key == key }); i >= 0 {
		return running[i]
	}
	return nil
}

// watch starts the inputs that a world wants and does not have yet, and stops
// those that it does not want any more.
func (d *Daemon) watch(w *World) error {
	wanted, err := d.wanted(w)
	if err != nil {
		return err
	}
	d.inputs.Lock()
	defer d.inputs.Unlock()
	var keep []*input
	for _, in := range d.inputs.running {
		if sameKey(wanted, in.key) == nil {
			in.cancel()
			<-in.done
			continue
		}
		keep = append(keep, in)
	}
	for _, in := range wanted {
		if sameKey(keep, in.key) != nil {
			continue
		}
		ctx, cancel := context.WithCancel(d.inputs.ctx)
		in.cancel, in.done = cancel, make(chan struct{})
		d.inputs.group.Go(func() {
			defer close(in.done)
			in.run(ctx, d.positions.all, d.batches, d.log)
		})
		keep = append(keep, in)
	}
	d.inputs.running = keep
	return nil
}
