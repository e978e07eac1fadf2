package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"

	"riposte"
	"riposte/internal/alertlog"
	"riposte/internal/analysis"
	"riposte/internal/executor"
	"riposte/internal/facts"
	"riposte/internal/host"
	"riposte/internal/journal"
	"riposte/internal/settings"
)

// open opens what is durable and builds the acting half.
func (d *Daemon) open(w *World) (err error) {
	s := w.Settings
	if err := host.PrivateDir(s.StateDir); err != nil {
		return fmt.Errorf("the folder for the state: %w", err)
	}
	var report *journal.Report
	if d.journal, report, err = journal.Open(JournalPath(s), journal.Options{}); err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	d.problems = append(d.problems, report.Words()...)
	if d.alerts, err = alertlog.Open(s.LogDir, s.Dialect); err != nil {
		return err
	}
	d.alerts.Parallel(s.Threads())
	id, peers, managers := "000", none, alone
	switch d.opt.Role {
	case Server:
		if err := d.openServer(w); err != nil {
			return err
		}
	case Agent:
		if err := d.openAgent(s); err != nil {
			return err
		}
		if d.analyses() {
			if err := d.agent.central(w); err != nil {
				return err
			}
		}
		id, peers, managers = d.agent.credentials.ID, d.agent.peers, d.agent.servers
	}
	if d.guard, err = newGuard(s, w.Config, peers); err != nil {
		return err
	}
	if d.registry, err = registry(s, w.Config, d.restart, managers); err != nil {
		return err
	}
	if err := d.openMechanisms(w); err != nil {
		return err
	}
	d.executor = executor.New(executor.Options{
		Journal: d.journal, Guard: d.guard, Resolve: d.resolve, Mechanisms: d.mechanisms(),
		Host: id, Observe: d.observes, OnStop: executor.OnStop(s.OnStop),
		ForgetAfter: s.Ladder.ForgetAfter, Notify: d.notify, Log: d.log, Boot: host.Boot(), Elapsed: host.SinceBoot(),
		Rest: d.rest,
	})
	if d.aggregate, err = d.newAggregator(s); err != nil {
		return err
	}
	engine, err := d.openEngine(w)
	if err != nil {
		return err
	}
	d.positions.journal, d.positions.before = d.journal, d.keepFacts
	stored, err := d.journal.Positions(context.Background())
	if err != nil {
		return fmt.Errorf("read positions: %w", err)
	}
	d.positions.stored = stored
	if d.agent != nil {
		if d.analyses() {
			if err := d.agent.openLocal(stored); err != nil {
				return err
			}
			d.positions.after = d.agent.local.stored
			d.pipeline = analysis.NewPipeline(engine, s.Threads(), d.judged)
		}
		d.positions.stored = d.agent.positions(stored)
		return d.applyGuard(context.Background(), w)
	}
	if d.server != nil {
		d.positions.after = d.server.judged
	}
	d.pipeline = analysis.NewPipeline(engine, s.Threads(), d.judged)
	return nil
}

// none is who manages a host that is alone.
func none() ([]netip.Addr, error) { return nil, nil }

// load builds the world that this role needs.
func (d *Daemon) load(s *settings.Settings) (*World, error) {
	if !d.analyses() {
		return LoadAgent(s, &d.ids)
	}
	w, err := Load(s, &d.ids)
	if err == nil && d.agent != nil {
		err = d.agent.central(w)
	}
	return w, err
}

// answerAnew has the analysis answer by the responses that the servers want now.
func (d *Daemon) answerAnew() error {
	d.reload.Lock()
	defer d.reload.Unlock()
	w := *d.world.Load()
	w.answerByItself(&d.ids)
	if err := d.agent.central(&w); err != nil {
		return err
	}
	d.world.Store(&w)
	d.pipeline.Swap(w.Engine(true, d.facts.Add))
	return nil
}

// analyses reports whether events are judged here. A reload does not change it.
func (d *Daemon) analyses() bool { return d.opt.Role != Agent || d.opt.Settings.Fleet.Analyse }

// observes reports whether a command is only observed here.
func (d *Daemon) observes(c riposte.Command) bool {
	w := d.world.Load()
	return w.Observing != "" || slices.Contains(w.Settings.Observe, c.Name) || d.agent != nil && d.agent.observes(c.Name)
}

// applyGuard has the guard protect what the configuration of w says, and on an
// agent what the server says besides: the stricter holds. What is protected now
// and was acted on is let go.
func (d *Daemon) applyGuard(ctx context.Context, w *World) error {
	allow, err := allowList(w.Settings, w.Config)
	if err != nil {
		return err
	}
	bounds := guardBounds(w.Settings)
	if d.agent != nil {
		b := d.agent.bundle.Load()
		entries, err := bundleEntries(b)
		if err != nil {
			return err
		}
		allow = append(allow, entries...)
		if b != nil {
			bounds = bounds.Stricter(bundleBounds(b))
		}
	}
	d.guard.SetAllow(allow)
	d.guard.SetBounds(bounds)
	if err := d.guard.Refresh(ctx); err != nil {
		d.log.Warn("the guard does not know everything", "error", err)
	}
	select {
	case <-d.executor.Ready():
	default:
		return nil // it is just starting, and looks itself
	}
	n, err := d.executor.Recheck(ctx)
	if n > 0 {
		d.log.Info("took back what the new allow list protects", "responses", n)
	}
	return err
}

// openEngine makes the analysis engine, with what the one before the start had
// learned from events.
func (d *Daemon) openEngine(w *World) (*analysis.Engine, error) {
	var problem string
	var err error
	if d.facts, problem, err = facts.Open(filepath.Join(w.Settings.StateDir, "facts")); err != nil {
		return nil, err
	}
	if problem != "" {
		d.problems = append(d.problems, problem)
	}
	engine := w.Engine(true, d.facts.Add)
	return engine, d.facts.Each(engine.Recall)
}

// keepFacts stores what the analysis has learned. A failure stops nothing: what
// could not be stored waits for the next time.
func (d *Daemon) keepFacts() {
	if err := d.facts.Flush(); err != nil {
		d.log.Error("cannot store what the analysis has learned", "error", err)
	}
}

// JournalPath is where the journal is.
func JournalPath(s *settings.Settings) string { return filepath.Join(s.StateDir, "journal.db") }

// openMechanisms opens what the commands of the configuration resolve to and
// what the journal says is in force by, so that the start can compare both.
func (d *Daemon) openMechanisms(w *World) error {
	for _, c := range w.Config.Commands {
		_, _ = d.resolve(c.Command) // Status tells what does not resolve
	}
	used, err := d.journal.Mechanisms(context.Background())
	for _, u := range used {
		if _, err := d.registry.Named(u.Mechanism, u.Command); err != nil {
			d.problems = append(d.problems, fmt.Sprintf("responses of %s are in force by %s, which this host no longer has: %v",
				u.Command.Name, u.Mechanism, err))
		}
	}
	return err
}

// close closes what open opened, back to front.
func (d *Daemon) close() error {
	var errs []error
	for _, c := range []io.Closer{closer(d.registry), closer(d.agent), closer(d.server), closer(d.alerts), closer(d.facts), closer(d.journal)} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// closer hides a nil pointer behind a nil interface.
func closer[T any, P interface {
	*T
	io.Closer
}](p P) io.Closer {
	if p == nil {
		return nil
	}
	return p
}
