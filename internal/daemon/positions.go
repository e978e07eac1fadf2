package daemon

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"riposte/internal/journal"
)

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
