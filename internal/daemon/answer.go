package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"riposte"
	"riposte/internal/alertlog"
	"riposte/internal/journal"
	"riposte/internal/response"
)

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
	if d.agent != nil {
		d.agent.local.mark(alerts)
	}
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
				o.ID = response.IDFor(a.Time, d.cause(a, os, i))
			}
			mine := here(o)
			switch {
			case d.server != nil:
				var ids []string
				if ids, mine = d.server.route(o); len(ids) > 0 {
					others, to = append(others, *o), append(to, ids)
				}
			case d.agent != nil:
				mine = o.Place.Local // its server judges the event, too, for all other places
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

// cause names what one of the orders of an alert is because of.
func (d *Daemon) cause(a *riposte.Alert, orders []riposte.Order, i int) string {
	if d.agent != nil {
		return d.agent.local.cause(a, orders, i)
	}
	return fmt.Sprintf("%s %d", a.ID, i)
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

// rest gives memory back when all is done after a burst.
func (d *Daemon) rest() {
	d.recent.clear()
	debug.FreeOSMemory()
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

// clear forgets all.
func (c *recent) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byID, c.queue = nil, nil
}

func (c *recent) get(id string) *riposte.Order {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byID[id]
}
