package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"riposte"
	"riposte/internal/api"
	"riposte/internal/executor"
	"riposte/internal/host"
	"riposte/internal/journal"
	"riposte/internal/ossec/conf"
	"riposte/internal/settings"
)

// maxProblems is how many reasons a flush gives.
const maxProblems = 20

// Flush implements api.Control.
func (c *control) Flush(ctx context.Context, r api.FlushRequest, progress func(api.Progress)) (api.Flushed, error) {
	return flush(ctx, c.executor, r.By, progress)
}

// flush takes everything back, then removes what else of riposte's is found on
// the host.
func flush(ctx context.Context, x *executor.Executor, by string, progress func(api.Progress)) (api.Flushed, error) {
	var out api.Flushed
	total := 0
	rs, err := x.Undo(ctx, executor.Selection{All: true, Reason: "everything was flushed"}, by, func(done, of int) {
		total = of
		if progress != nil {
			progress(api.Progress{Done: done, Total: of})
		}
	})
	switch {
	case errors.Is(err, executor.ErrNothing):
	case err != nil && total == 0:
		return out, err
	case err != nil && ctx.Err() != nil:
		return out, err
	default:
		out.Undone, out.Left = len(rs), total-len(rs)
		for _, r := range notUndone("", err) {
			if len(out.Problems) == maxProblems {
				break
			}
			out.Problems = append(out.Problems, r.Reason)
		}
	}
	rep, err := x.Reconcile(ctx, true)
	if err != nil {
		return out, err
	}
	for _, d := range rep.Drift {
		if d.What == executor.Unknown {
			out.Undone++
		}
	}
	out.Problems = append(out.Problems, rep.Errors...)
	return out, nil
}

// FlushAlone takes everything back on a host where no riposte runs: it holds
// the journal's lock meanwhile. It needs the settings only, so that a broken
// configuration does not keep anybody locked out. journal.ErrInUse means that a
// riposte runs after all.
func FlushAlone(ctx context.Context, s *settings.Settings, by string, log *slog.Logger, progress func(api.Progress)) (out api.Flushed, err error) {
	if _, err := os.Stat(JournalPath(s)); errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	d := &Daemon{opt: Options{Settings: s}, log: log}
	var report *journal.Report
	if d.journal, report, err = journal.Open(JournalPath(s), journal.Options{}); err != nil {
		return out, fmt.Errorf("open the journal: %w", err)
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if d.registry, err = registry(s, &conf.Config{}, nil, alone); err != nil {
		return out, err
	}
	if err := d.openMechanisms(&World{Settings: s, Config: &conf.Config{}}); err != nil {
		return out, err
	}
	before, err := d.journal.Count(ctx)
	if err != nil {
		return out, err
	}
	d.executor = executor.New(executor.Options{
		Journal: d.journal, Resolve: d.registry.Resolve, Mechanisms: d.registry.Mechanisms(), Host: "000", Log: log,
		Observe: func(riposte.Command) bool { return true }, // what is to be taken back is not put back before
		Boot:    host.Boot(), Elapsed: host.SinceBoot(),
	})
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- d.executor.Run(ctx) }()
	select {
	case <-d.executor.Ready():
		out, err = flush(ctx, d.executor, by, progress)
	case err := <-done:
		stop()
		return out, err
	case <-time.After(time.Minute):
		err = errors.New("the mechanisms of this host do not answer")
	}
	stop()
	out.Problems = append(append(report.Words(), d.problems...), out.Problems...)
	err = errors.Join(err, <-done)
	// The start has gone on with what the last run was taking back.
	after, lost := d.journal.Count(context.WithoutCancel(ctx))
	out.Undone, out.Left = max(out.Undone, before.InForce-after.InForce), after.InForce
	return out, errors.Join(err, lost)
}
