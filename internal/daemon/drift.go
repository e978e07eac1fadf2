package daemon

import (
	"context"
	"sync"
	"time"

	"riposte/internal/enforce"
)

// driftSettle is how long it is waited after the first word of a change, since
// one change is often told in many, and driftPause how long after a comparison
// until the next: who fights over the firewall is not to keep it busy.
const (
	driftSettle = 50 * time.Millisecond
	driftPause  = time.Second
)

// watchDrift sets a mechanism right as soon as it hears that somebody else
// changed what it holds. What no mechanism hears of is left to repair.
func (d *Daemon) watchDrift(ctx context.Context) error {
	if d.opt.Settings.RepairEvery <= 0 {
		return nil
	}
	var all sync.WaitGroup
	defer all.Wait()
	for _, m := range d.mechanisms() {
		if w, ok := m.(enforce.Watcher); ok {
			all.Go(func() { d.watchOne(ctx, w) })
		}
	}
	return nil
}

// watchOne listens for one mechanism until ctx ends. When it cannot, that is
// said, and the comparison now and then has to do.
func (d *Daemon) watchOne(ctx context.Context, w enforce.Watcher) {
	changed := make(chan struct{}, 1)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		done <- w.Watch(ctx, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	for {
		select {
		case err := <-done:
			if err != nil && ctx.Err() == nil {
				d.log.Warn("changes by others are only found now and then", "mechanism", w.Name(), "error", err)
			}
			return
		case <-changed:
		}
		if !rest(ctx, driftSettle) {
			continue
		}
		select { // what came meanwhile is part of it
		case <-changed:
		default:
		}
		d.setRight(ctx, w.Name())
		rest(ctx, driftPause)
	}
}

// rest waits, and reports false when ctx ends first.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// setRight compares mechanisms with the journal, all or those named, and makes
// the host agree.
func (d *Daemon) setRight(ctx context.Context, names ...string) {
	if d.world.Load().Observing != "" {
		return
	}
	r, err := d.executor.Reconcile(ctx, true, names...)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		d.log.Warn("cannot compare the host with the journal", "error", err)
	case len(r.Drift) > 0:
		d.log.Warn("the host differed from the journal and was set right", "differences", len(r.Drift), "first", driftWords(r.Drift[0]))
	}
}
