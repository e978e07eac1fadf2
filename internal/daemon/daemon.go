package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"riposte"
	"riposte/internal/alertlog"
	"riposte/internal/analysis"
	"riposte/internal/api"
	"riposte/internal/enforce/all"
	"riposte/internal/executor"
	"riposte/internal/facts"
	"riposte/internal/guard"
	"riposte/internal/host"
	"riposte/internal/journal"
	"riposte/internal/response"
	"riposte/internal/settings"
)

// Role is what a daemon is in a fleet.
type Role uint8

// A host that is alone judges and acts for itself. A server also does so for its
// agents; an agent reads and acts, and its server judges.
const (
	Alone Role = iota
	Server
	Agent
)

// Options say how a daemon is built.
type Options struct {
	Role     Role
	Settings *settings.Settings
	// Again reads the settings once more, for a reload.
	Again   func() (*settings.Settings, error)
	Version string
	Log     *slog.Logger
	// Input is one more source. Run ends when it does, once its lines are judged
	// and what they call for is done. nil: no such source.
	Input io.Reader
	// Hangup asks for a reload; nil: nobody does.
	Hangup <-chan os.Signal
	// Ready is called once everything runs, with the state to show.
	Ready func(api.Status)
}

// Daemon is a riposte that guards one host: server and agent in one process.
type Daemon struct {
	opt Options
	log *slog.Logger
	ids response.IDs

	journal   *journal.Journal
	guard     *guard.Guard
	registry  *all.Registry
	executor  *executor.Executor
	aggregate *aggregator
	breaker   breaker
	alerts    *alertlog.Writer
	facts     *facts.Store
	pipeline  *analysis.Pipeline // nil on an agent
	server    *server            // nil unless this is one
	agent     *agent             // likewise
	batches   chan riposte.Batch
	positions positions
	recent    recent

	since    time.Time
	reexec   chan struct{} // a restart of riposte itself was ordered
	ended    chan error    // Options.Input ended
	problems []string      // found at start

	world  atomic.Pointer[World]
	reload sync.Mutex // one reload at a time
	inputs struct {
		sync.Mutex
		running []*input
		group   sync.WaitGroup
		ctx     context.Context
	}
	events, fired, orders, refused atomic.Uint64
}

// ErrReexec is what Run returns when riposte is to replace itself in place.
var ErrReexec = errors.New("restart of riposte ordered")

// Run builds the daemon, runs it until ctx ends, and stops it in order. What is
// in force stays so, unless the settings say otherwise.
func Run(ctx context.Context, opt Options) (err error) {
	d := &Daemon{opt: opt, log: opt.Log, since: time.Now(), reexec: make(chan struct{}, 1), ended: make(chan error, 1), batches: make(chan riposte.Batch, 64), breaker: newBreaker()}
	world, err := d.load(opt.Settings)
	if err != nil {
		return &ConfigError{World: world}
	}
	d.world.Store(world)
	if err := d.open(world); err != nil {
		return errors.Join(err, d.close())
	}
	defer func() { err = errors.Join(err, d.close()) }()
	return d.run(ctx)
}

// ConfigError carries the findings that keep a daemon from starting.
type ConfigError struct{ World *World }

func (e *ConfigError) Error() string { return ErrConfig.Error() }
func (e *ConfigError) Unwrap() error { return ErrConfig }

// run starts the parts front to back and stops them back to front.
func (d *Daemon) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var parts sync.WaitGroup
	start := func(ctx context.Context, name string, f func(context.Context) error) {
		parts.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}

	// The acting half outlives the sources: what they saw last is still acted on.
	acting, stopActing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopActing()
	if err := d.allowedByHand(ctx); err != nil {
		d.log.Warn("the guard does not know everything yet", "error", err)
	}
	start(acting, "guard", func(ctx context.Context) error {
		return d.guard.Run(ctx, func(err error) { d.log.Warn("guard", "error", err) })
	})
	start(acting, "executor", d.executor.Run)
	select {
	case <-d.executor.Ready(): // reconciled: only now may lines be read
	case <-ctx.Done():
		stopActing()
		parts.Wait()
		return stopped(ctx)
	}
	start(acting, "positions", d.positions.run)
	start(acting, "repair", d.repair)
	start(acting, "drift", d.watchDrift)
	start(acting, "audit", d.sendAudit)
	start(acting, "aggregation", d.aggregate.run)
	start(acting, "breaker", d.watchBreaker)

	var judging sync.WaitGroup
	// Room in a full spool, or a broker that is away, is not waited for when
	// riposte is to stop.
	patient, give := context.WithCancel(acting)
	defer give()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(2*time.Second, give) })()
	if d.server != nil {
		d.server.patient = patient
	}
	collecting, collected := context.WithCancel(acting)
	defer collected()
	judging.Go(func() {
		defer collected()
		if err := d.judge(patient, acting); err != nil && acting.Err() == nil {
			cancel(err)
		}
	})
	if d.agent != nil && d.agent.local != nil {
		judging.Go(func() {
			if err := d.agent.local.run(acting, collecting); err != nil && acting.Err() == nil {
				cancel(err)
			}
		})
	}
	switch {
	case d.server != nil:
		start(acting, "fleet", d.server.run)
	case d.agent != nil:
		start(acting, "fleet", d.agent.run)
	}
	sources, stopSources := context.WithCancel(ctx)
	defer stopSources()
	d.inputs.ctx = sources
	if d.server != nil {
		d.inputs.group.Go(func() { d.server.lead(sources) })
	}
	if err := d.watch(d.world.Load()); err != nil {
		cancel(err)
	}
	for _, in := range d.inputs.running {
		in.settled(ctx, 2*time.Second)
	}
	if d.server != nil {
		d.server.settle(ctx, 2*time.Second)
	}
	listener, err := host.ListenControl(d.world.Load().Settings.Socket)
	if err != nil {
		cancel(err)
	} else {
		start(ctx, "control socket", func(ctx context.Context) error { return api.Serve(ctx, listener, (*control)(d)) })
	}
	if ctx.Err() == nil {
		d.ready()
	}

	finite := false
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-d.reexec:
			cancel(ErrReexec)
		case err := <-d.ended:
			finite = true
			cancel(err)
		case <-d.opt.Hangup:
			if _, err := d.Reload(ctx); err != nil {
				d.log.Error("reload", "error", err)
			}
			if err := d.alerts.Reopen(); err != nil {
				d.log.Error("reopen the alert logs", "error", err)
			}
		}
	}
	_ = host.Notify("STOPPING=1")
	stopSources()
	d.inputs.group.Wait()
	close(d.batches) // what was read is judged
	judging.Wait()
	if finite {
		d.finish(acting)
	}
	stopActing()
	parts.Wait()
	return stopped(ctx)
}

// judge judges what the sources read, or hands it to the server. It ends when
// there are no more sources.
func (d *Daemon) judge(patient, acting context.Context) error {
	if d.agent != nil {
		return d.agent.collect(patient, d.batches)
	}
	if err := d.pipeline.Run(acting, d.batches); err != nil && patient.Err() == nil {
		return fmt.Errorf("analysis: %w", err)
	}
	return nil
}

// repair sets the host right now and then: somebody may have flushed the
// firewall.
func (d *Daemon) repair(ctx context.Context) error {
	every := d.opt.Settings.RepairEvery
	if every <= 0 {
		return nil
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		d.setRight(ctx)
	}
}

// finish waits until what was ordered is done. A stop leaves it to the next
// start, but whoever gave an input wants to see what became of it.
func (d *Daemon) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for tick := time.Tick(10 * time.Millisecond); ; {
		s, err := d.executor.Status(ctx)
		if err != nil || s.Waiting == s.Stuck {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
	}
}

// stopped returns why ctx ended, nil when it was asked to.
func stopped(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func (d *Daemon) ready() {
	if err := host.Notify(host.Ready); err != nil {
		d.log.Warn("cannot tell the service manager", "error", err)
	}
	if d.opt.Ready == nil {
		return
	}
	s, err := (*control)(d).Status(context.Background())
	if err != nil {
		d.log.Error("cannot tell the state", "error", err)
		return
	}
	d.opt.Ready(s)
}

// restart is what the response restart-ossec does where no OSSEC is installed.
func (d *Daemon) restart() error {
	select {
	case d.reexec <- struct{}{}:
	default: // already on its way
	}
	return nil
}
