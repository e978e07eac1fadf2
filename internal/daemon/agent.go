package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"riposte"
	"riposte/internal/api"
	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
	"riposte/internal/fleet/link"
	"riposte/internal/fleet/spool"
	"riposte/internal/settings"
)

// The names of positions that are an agent's own.
const (
	ordersPosition   = "fleet orders"
	receiptsPosition = "fleet receipts"
)

// agent is the half of a daemon that belongs to a server.
type agent struct {
	d           *Daemon
	log         *slog.Logger
	dir         string
	credentials *identity.Credentials
	spool       *spool.Spool
	codec       *fleet.Codec
	link        atomic.Pointer[link.Agent]
	acted       chan struct{}
	local       *local                       // nil: the server alone judges
	bundle      atomic.Pointer[fleet.Bundle] // in use
}

// openAgent opens what an agent needs on this host.
func (d *Daemon) openAgent(s *settings.Settings) (err error) {
	a := &agent{d: d, log: d.log, dir: FleetDir(s), codec: fleet.NewCodec(), acted: make(chan struct{}, 1)}
	if a.credentials, err = identity.LoadCredentials(a.dir); err != nil {
		return err
	}
	if a.spool, err = spool.Open(filepath.Join(a.dir, "spool"), spool.Options{MaxBytes: int64(s.Fleet.Spool) << 20}); err != nil {
		return err
	}
	d.agent = a
	if words := a.spool.Report().Words(); words != "" {
		d.problems = append(d.problems, words)
	}
	b, err := a.storedBundle()
	if err != nil {
		d.problems = append(d.problems, fmt.Sprintf("the server's configuration of this agent is asked for anew: %v", err))
	}
	a.bundle.Store(b)
	return nil
}

// Close closes what openAgent opened.
func (a *agent) Close() error { return a.spool.Close() }

// servers are the hosts and ports that this agent is managed from.
func (a *agent) servers(ctx context.Context) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	var errs []error
	for _, text := range a.credentials.URLs {
		u, err := url.Parse(text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			port = 4222
		}
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
			out = append(out, netip.AddrPortFrom(ip, uint16(port)))
			continue
		}
		ips, err := lookup(ctx, u.Hostname())
		if err != nil {
			errs = append(errs, err)
		}
		for _, ip := range ips {
			out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	return nil, errors.Join(errs...)
}

// peers are the addresses that must never be cut off.
func (a *agent) peers() ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := a.servers(ctx)
	var out []netip.Addr
	for _, p := range list {
		if !slices.Contains(out, p.Addr()) {
			out = append(out, p.Addr())
		}
	}
	return out, err
}

// run keeps the link to the server up until ctx ends.
func (a *agent) run(ctx context.Context) error {
	for {
		err := a.serve(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, link.ErrNewKey):
			if a.credentials, err = identity.LoadCredentials(a.dir); err != nil {
				return err
			}
			a.log.Info("this agent has a new key")
		case err != nil:
			return err
		}
	}
}

// serve makes the link and runs it.
func (a *agent) serve(ctx context.Context) error {
	all := a.d.positions.all()
	o := link.AgentOptions{
		Credentials: a.credentials, Dir: a.dir, Spool: a.spool,
		SetAt: a.setAt, Orders: a.orders, Undo: a.undo, Bundle: a.use,
		Receipts: a.d.journal.ReceiptsAfter, ReceiptsSent: a.receiptsSent, Acted: a.acted,
		Presence: a.presence, Beat: a.d.opt.Settings.Fleet.Beat, Analysed: a.analysed(all[judgedPosition]), Log: a.log,
	}
	if text := all[ordersPosition]; text != "" {
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			o.At.Seq = n // of a version that knew no more
		} else if err := json.Unmarshal([]byte(text), &o.At); err != nil {
			return fmt.Errorf("the place in the log of orders: %q: %w", text, err)
		}
	}
	if joined := a.credentials.Joined; joined.Issued.After(o.At.Issued) {
		o.At = joined // nothing was ordered since, or what was noted is of the fleet before
	}
	if text := all[receiptsPosition]; text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("how far receipts were sent: %w", err)
		}
		o.ReceiptsFrom = n
	}
	if b := a.bundle.Load(); b != nil {
		o.Version, o.Made = b.Version, b.Made
	}
	l, err := link.NewAgent(o)
	if err != nil {
		return err
	}
	defer l.Close()
	a.link.Store(l)
	defer a.link.Store(nil)
	return l.Run(ctx)
}

func (a *agent) setAt(at fleet.Place, now bool) error {
	text, err := json.Marshal(at)
	if err != nil {
		return err
	}
	a.d.positions.set(ordersPosition, string(text))
	if now {
		return a.d.positions.flush(context.Background())
	}
	return nil
}

func (a *agent) receiptsSent(last int64) error {
	a.d.positions.set(receiptsPosition, strconv.FormatInt(last, 10))
	return nil
}

// orders hands the server's orders to the executor.
func (a *agent) orders(ctx context.Context, orders []riposte.Order) error {
	return a.d.carry(ctx, orders)
}

// undo takes back what the server says.
func (a *agent) undo(ctx context.Context, u fleet.Undo) error {
	r := api.UnblockRequest{Target: u.Target.Value, Command: u.Command, Order: u.Order, All: u.All, Forgive: u.Forgive, Asker: api.Asker{By: u.By}}
	c := (*control)(a.d)
	_, err := c.Unblock(ctx, r)
	if isNotFound(err) {
		err = nil
		if u.Forgive && u.Target.Kind != riposte.None {
			_, err = c.Forgive(ctx, r)
		}
	}
	return err
}

// isNotFound reports whether err says that there is nothing to act on.
func isNotFound(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Status == 404
}

// presence says how this agent is.
func (a *agent) presence(p *fleet.Presence) {
	d := a.d
	w := d.world.Load()
	p.Version, p.OS, p.Arch, p.Host, p.Since, p.Observing = d.opt.Version, runtime.GOOS, runtime.GOARCH, w.Settings.HostName(), d.since, w.Observing
	p.Analyses = a.local != nil
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if n, err := d.journal.Count(ctx); err == nil {
		p.InForce = n.InForce
	}
}

// collect puts what the sources read into the spool until in is closed. When the
// spool is full it waits, and so do the sources: what is in files stays there.
func (a *agent) collect(ctx context.Context, in <-chan riposte.Batch) error {
	const together = 64 // batches in one record, when they are there
	var batches []riposte.Batch
	for b := range in {
		batches = append(batches[:0], b)
	gather:
		for len(batches) < together {
			select {
			case b, ok := <-in:
				if !ok {
					break gather
				}
				batches = append(batches, b)
			default:
				break gather
			}
		}
		err := link.Pack(a.codec, batches, a.local != nil, func(payloads [][]byte, positions map[string]string) error {
			if _, err := a.spool.AppendAll(ctx, payloads, positions); err != nil {
				return err
			}
			for source, position := range positions {
				a.d.positions.set(source, position)
			}
			return nil
		})
		if ctx.Err() != nil {
			return nil // read again at the next start, as far as there is something to read again
		}
		if err != nil {
			return fmt.Errorf("store events for the server: %w", err)
		}
		for i := range batches {
			if a.local != nil {
				break // they count when they are judged
			}
			a.d.events.Add(uint64(len(batches[i].Events)))
		}
	}
	return nil
}

// positions are where the sources are to begin: the spool knows it best.
func (a *agent) positions(stored map[string]string) map[string]string {
	out := maps.Clone(stored)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, a.spool.Positions())
	return out
}

// words says how the link is.
func (a *agent) words() []string {
	who := fmt.Sprintf("agent %s (%s)", a.credentials.ID, a.credentials.Name)
	l := a.link.Load()
	st := a.spool.Stats()
	words := []string{who + ", not connected to its server"}
	if l != nil && l.Connected() {
		host, _, err := net.SplitHostPort(l.Address())
		if err != nil {
			host = l.Address()
		}
		words[0] = who + ", connected to " + host
	}
	if st.Records > 0 {
		words = append(words, fmt.Sprintf("%d records of events (%d bytes) wait for the server, the oldest since %s",
			st.Records, st.Bytes, st.Oldest.Local().Format(time.DateTime)))
	}
	if a.local != nil {
		words = append(words, a.local.words())
	}
	if b := a.bundle.Load(); b != nil {
		words = append(words, "the server's configuration, version "+strconv.FormatUint(b.Version, 10))
	}
	return words
}
