package analysis

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"riposte"
)

// chunk is how many events travel together between the stages, together how many
// are emitted together at most.
const (
	chunk    = 32
	together = 1024
)

// Emit is told what came of events, in their order: the alerts, and the batch
// when all its events are judged; alerts of the next batches may come with it.
// It is called by one goroutine, while later events are judged by others: what
// they have judged when it returns comes in one call. An error ends the pipeline.
type Emit func(alerts []*riposte.Alert, done *riposte.Batch) error

// Pipeline judges batches with several workers. What it emits does not depend
// on their number.
type Pipeline struct {
	workers int
	emit    Emit
	swap    sync.Mutex
	next    atomic.Pointer[Engine] // what new batches are judged by
	current *Engine                // what the last batch was judged by
}

// NewPipeline returns a pipeline that starts with the given engine.
func NewPipeline(e *Engine, workers int, emit Emit) *Pipeline {
	p := &Pipeline{workers: max(1, workers), emit: emit, current: e}
	p.next.Store(e)
	return p
}

// Swap makes the pipeline judge by another engine from the next batch on. The
// engine takes over what the one before remembers. Swap may be called at any
// time.
func (p *Pipeline) Swap(e *Engine) { p.put(e, 0) }

// Restart is Swap with an engine that takes over nothing: what came before is
// about to be judged again.
func (p *Pipeline) Restart(e *Engine) { p.put(e, 1) }

func (p *Pipeline) put(e *Engine, lives uint64) {
	p.swap.Lock()
	defer p.swap.Unlock()
	e.life = p.next.Load().life + lives
	p.next.Store(e)
}

// Run judges what comes in until in is closed, and then returns nil, or until
// ctx ends or emit fails.
func (p *Pipeline) Run(ctx context.Context, in <-chan riposte.Batch) error {
	if p.workers == 1 {
		return p.single(ctx, in)
	}
	return p.parallel(ctx, in)
}

// single does both stages in the calling goroutine.
func (p *Pipeline) single(ctx context.Context, in <-chan riposte.Batch) error {
	var alerts []*riposte.Alert
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b, ok := <-in:
			if !ok {
				return nil
			}
			p.use(p.next.Load())
			alerts = alerts[:0]
			for i := range b.Events {
				if a := p.current.Analyse(&b.Events[i]); a != nil {
					alerts = append(alerts, a)
				}
			}
			if err := p.emit(alerts, &b); err != nil {
				return err
			}
			clear(alerts)
		}
	}
}

// use switches to an engine.
func (p *Pipeline) use(e *Engine) {
	if e == p.current {
		return
	}
	if e.life == p.current.life {
		e.Adopt(p.current)
	}
	p.current = e
}

// job is a chunk of events on its way.
type job struct {
	engine  *Engine
	events  []riposte.Event
	batch   *riposte.Batch // when the chunk is its last
	records []record
	ready   chan struct{}
}

// verdict is what came of events in a row.
type verdict struct {
	engine *Engine // that judged them
	events int
	alerts []*riposte.Alert
	done   []*riposte.Batch // those that ended among them
}

var errStopped = errors.New("stopped")

// parallel reads batches in one goroutine, does stage one in several, emits in
// another and does stage two in the calling one.
func (p *Pipeline) parallel(ctx context.Context, in <-chan riposte.Batch) error {
	ctx, cancel := context.WithCancelCause(ctx)
	inFlight := 2*p.workers + 2
	work := make(chan *job, inFlight)
	order := make(chan *job, inFlight)
	free := make(chan *job, inFlight)
	for range inFlight {
		free <- &job{ready: make(chan struct{}, 1)}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(work)
		defer close(order)
		p.dispatch(ctx, in, free, work, order)
	})
	for range p.workers {
		wg.Go(func() { stageOne(work) })
	}
	judged := make(chan *verdict)
	var err error
	wg.Go(func() {
		if err = p.emitAll(judged); err != nil {
			cancel(errStopped)
			for range judged { // let the others go
			}
		}
	})
	p.collect(order, judged, free)
	close(judged)
	wg.Wait()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel(errStopped)
	return err
}

// dispatch cuts batches into jobs.
func (p *Pipeline) dispatch(ctx context.Context, in <-chan riposte.Batch, free <-chan *job, work, order chan<- *job) {
	for {
		var b riposte.Batch
		var ok bool
		select {
		case <-ctx.Done():
			return
		case b, ok = <-in:
			if !ok {
				return
			}
		}
		engine := p.next.Load()
		for events := b.Events; ; {
			n := min(chunk, len(events))
			var j *job
			select {
			case <-ctx.Done():
				return
			case j = <-free:
			}
			j.engine, j.events, j.batch = engine, events[:n], nil
			if events = events[n:]; len(events) == 0 {
				j.batch = &b
			}
			work <- j // both have room for every job there is
			order <- j
			if len(events) == 0 {
				break
			}
		}
	}
}

// stageOne prepares jobs.
func stageOne(work <-chan *job) {
	var w *Worker
	var engine *Engine
	for j := range work {
		if j.engine != engine {
			engine, w = j.engine, j.engine.Worker()
		}
		if len(j.records) < len(j.events) {
			j.records = make([]record, len(j.events))
		}
		for i := range j.events {
			w.prepare(&j.records[i], &j.events[i])
		}
		j.ready <- struct{}{}
	}
}

// collect judges jobs in their order. What is judged while the last is emitted
// goes together.
func (p *Pipeline) collect(order <-chan *job, judged chan<- *verdict, free chan<- *job) {
	v := &verdict{}
	for order != nil || v.events > 0 {
		in, out := order, judged
		if v.events == 0 {
			out = nil
		}
		if v.events >= together {
			in = nil
		}
		select {
		case out <- v:
			v = &verdict{}
		case j, ok := <-in:
			if !ok {
				order = nil
				continue
			}
			<-j.ready
			if v.events > 0 && v.engine != j.engine {
				judged <- v
				v = &verdict{}
			}
			p.judge(j, v)
			free <- j // there is room for every job there is
		}
	}
}

// judge judges a job, and adds to the verdict what came of it.
func (p *Pipeline) judge(j *job, v *verdict) {
	p.use(j.engine)
	for i := range j.events {
		r := &j.records[i]
		if a := p.current.judge(r); a != nil {
			v.alerts = append(v.alerts, a)
		}
		r.release()
	}
	v.engine, v.events = j.engine, v.events+max(1, len(j.events))
	if j.batch != nil {
		v.done = append(v.done, j.batch)
	}
	j.engine, j.events, j.batch = nil, nil, nil
}

// emitAll emits verdicts in their order.
func (p *Pipeline) emitAll(judged <-chan *verdict) error {
	for v := range judged {
		alerts := v.alerts
		for _, b := range v.done {
			if err := p.emit(alerts, b); err != nil {
				return err
			}
			alerts = nil
		}
		if len(alerts) > 0 {
			if err := p.emit(alerts, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
