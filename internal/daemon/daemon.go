package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
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
		Rest: debug.FreeOSMemory,
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
	if d.opt.Role == Agent {
		return LoadAgent(s, &d.ids)
	}
	return Load(s, &d.ids)
}

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
	judging.Go(func() {
		if err := d.judge(patient, acting); err != nil && acting.Err() == nil {
			cancel(err)
		}
	})
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

// judged takes alerts from the analysis: log, plan, order. It returns only when
// the orders are in the journal, so that the position behind them may be stored.
func (d *Daemon) judged(alerts []*riposte.Alert, done *riposte.Batch) error {
	replayed := false
	if d.server != nil {
		alerts, replayed = d.server.fresh(alerts, done)
	}
	switch err := d.answer(alerts); {
	case d.server != nil && d.server.deposed(err):
		replayed = true
	case err != nil:
		return err
	}
	if done != nil && !replayed {
		d.events.Add(uint64(len(done.Events)))
		d.positions.set(done.Source, done.Position)
	}
	if done != nil && d.server != nil {
		d.server.finished(done)
	}
	return nil
}

// answer logs alerts and submits what they call for. An error means that riposte
// is being stopped and that the alerts are to be answered after the next start.
func (d *Daemon) answer(alerts []*riposte.Alert) error {
	if len(alerts) == 0 {
		return nil
	}
	d.fired.Add(uint64(len(alerts)))
	if err := d.alerts.WriteAlerts(alerts); err != nil {
		d.log.Error("cannot write alerts", "error", err)
	}
	planner := d.world.Load().Planner
	var own, others []riposte.Order
	var to [][]string
	for _, a := range alerts {
		os, _ := planner.Plan(a)
		for i := range os {
			o := &os[i]
			if a.Number != 0 { // judged again, it is the same order
				o.ID = response.IDFor(a.Time, fmt.Sprintf("%s %d", a.ID, i))
			}
			mine := here(o)
			if d.server != nil {
				var ids []string
				if ids, mine = d.server.route(o); len(ids) > 0 {
					others, to = append(others, *o), append(to, ids)
				}
			}
			if mine {
				own = append(own, *o)
			}
		}
	}
	if len(own) > 0 {
		if err := d.carry(context.Background(), own); err != nil {
			d.log.Error("cannot take orders", "count", len(own), "error", err)
		}
	}
	if len(others) == 0 {
		return nil
	}
	d.orders.Add(uint64(len(others)))
	return d.server.issue(d.server.issuing(), others, to)
}

// carry has orders carried out on this host. It returns when they are in the
// journal.
func (d *Daemon) carry(ctx context.Context, orders []riposte.Order) error {
	d.orders.Add(uint64(len(orders)))
	d.recent.add(orders)
	return d.executor.Submit(ctx, orders)
}

// here reports whether a host that is alone carries out an order: it is the
// agent of its own alerts, the server, and all hosts. Any defined agent but 000
// is somebody else, and so is the agent behind another engine's alert.
func here(o *riposte.Order) bool {
	p := o.Place
	return p.All || p.Server || p.Defined == "000" || p.Local && (o.Alert == nil || o.Alert.Agent.Local())
}

// notify is told every receipt. It writes active-responses.log, which the rules
// of OSSEC and Wazuh read.
func (d *Daemon) notify(r riposte.Receipt) {
	d.aggregate.note(&r)
	d.breaker.note(&r, d.guard)
	if d.agent != nil {
		select {
		case d.agent.acted <- struct{}{}:
		default: // it knows
		}
	}
	line := alertlog.Response{Time: r.Time, Host: d.world.Load().Settings.HostName()}
	switch r.Outcome {
	case riposte.Refused, riposte.Failed, riposte.Expired:
		line.Failed = r.Reason
	case riposte.Applied, riposte.Verified:
	case riposte.Undone:
		line.Action = riposte.Delete
	default:
		return
	}
	if r.Outcome == riposte.Refused {
		d.refused.Add(1)
	}
	var err error
	if line.Order = d.recent.get(r.Order); line.Order == nil {
		if line.Order, err = d.journal.Order(context.Background(), r.Order); err != nil {
			if !errors.Is(err, journal.ErrUnknown) {
				d.log.Error("cannot read an order", "order", r.Order, "error", err)
			}
			return
		}
	}
	if err := d.alerts.WriteResponses([]alertlog.Response{line}); err != nil {
		d.log.Error("cannot write active-responses.log", "error", err)
	}
}

// recent keeps the latest orders at hand, so that their receipts need no look
// into the journal.
type recent struct {
	mu    sync.Mutex
	byID  map[string]*riposte.Order
	queue []string
}

const recentOrders = 4096

func (c *recent) add(orders []riposte.Order) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil {
		c.byID = map[string]*riposte.Order{}
	}
	for i := range orders {
		c.byID[orders[i].ID] = &orders[i]
		c.queue = append(c.queue, orders[i].ID)
	}
	for len(c.queue) > recentOrders {
		delete(c.byID, c.queue[0])
		c.queue = c.queue[1:]
	}
}

func (c *recent) get(id string) *riposte.Order {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byID[id]
}

// positions gathers how far sources were read and stores it once a second: a
// crash repeats at most that second's lines, and a repeated order is harmless.
type positions struct {
	journal *journal.Journal
	before  func()                                   // stores what the lines in front of a position have taught
	after   func(context.Context, map[string]string) // is told what was stored; nil: nobody is
	writing sync.Mutex
	mu      sync.Mutex
	stored  map[string]string
	fresh   map[string]string
}

func (p *positions) set(source, position string) {
	if position == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fresh == nil {
		p.fresh = map[string]string{}
	}
	p.fresh[source] = position
}

// all returns the positions as they are now.
func (p *positions) all() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := maps.Clone(p.stored)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, p.fresh)
	return out
}

func (p *positions) run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := p.flush(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return p.flush(context.WithoutCancel(ctx))
		}
	}
}

func (p *positions) flush(ctx context.Context) error {
	p.writing.Lock() // what is newer is stored later
	defer p.writing.Unlock()
	p.mu.Lock()
	fresh := p.fresh
	p.fresh = nil
	if p.stored == nil {
		p.stored = map[string]string{}
	}
	maps.Copy(p.stored, fresh)
	p.mu.Unlock()
	p.before()
	if len(fresh) == 0 {
		return nil
	}
	if err := p.journal.SetPositions(fresh); err != nil {
		return fmt.Errorf("store positions: %w", err)
	}
	if p.after != nil {
		p.after(ctx, fresh)
	}
	return nil
}
