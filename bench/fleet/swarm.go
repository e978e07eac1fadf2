//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"riposte"
	"riposte/bench/rig"
	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
	"riposte/internal/fleet/link"
	"riposte/internal/fleet/spool"
)

// A swarm is a process of many simulated agents. Each has its own TLS connection,
// key, spool and link, as a real agent has; in the place of the executor and the
// journal stands a list in memory. The benchmark tells it what to do in lines of
// JSON, and it answers each with one.

// ask is what a swarm is told.
type ask struct {
	Op     string `json:"op"` // start, status, heard, flood
	File   string `json:"file,omitempty"`
	Dir    string `json:"dir,omitempty"`
	Spool  int64  `json:"spool,omitempty"`  // bytes of each agent's spool
	Target string `json:"target,omitempty"` // of the order that is asked about
	Agents int    `json:"agents,omitempty"` // that send events
	First  int    `json:"first,omitempty"`  // serial number of the first event
	Events int    `json:"events,omitempty"`
	Rate   int    `json:"rate,omitempty"` // events a second, 0 for as many as go
}

// answer is what a swarm says.
type answer struct {
	Error     string  `json:"error,omitempty"`
	Agents    int     `json:"agents"`
	Connected int     `json:"connected"`
	Synced    int     `json:"synced"`
	Heard     []int64 `json:"heard,omitempty"` // when each agent got the order, Unix nanoseconds
	Flooding  bool    `json:"flooding"`
	Appended  int64   `json:"appended"`   // events in spools
	Blocked   int64   `json:"blocked_ns"` // that all agents together waited for room
	Waiting   int64   `json:"waiting"`    // bytes in spools now
	Problems  int64   `json:"problems"`   // warnings of the links
	Last      string  `json:"last,omitempty"`
}

// swarm is the state of such a process.
type swarm struct {
	codec    *fleet.Codec
	agents   []*simulated
	senders  int // the first of them send events
	running  sync.WaitGroup
	flooding atomic.Int32
	appended atomic.Int64
	blocked  atomic.Int64
	problems problems
}

// simulated is one agent.
type simulated struct {
	id    string
	link  *link.Agent
	spool *spool.Spool
	acted chan struct{}

	mu       sync.Mutex
	receipts []riposte.Receipt // those not sent yet
	sent     int64             // number of the last one sent
	heard    map[string]int64  // by target
}

// problems counts what the links complain of, and keeps the last.
type problems struct {
	slog.Handler
	n    atomic.Int64
	last atomic.Pointer[string]
}

func (p *problems) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (p *problems) WithAttrs([]slog.Attr) slog.Handler           { return p }
func (p *problems) WithGroup(string) slog.Handler                { return p }
func (p *problems) Handle(_ context.Context, r slog.Record) error {
	p.n.Add(1)
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	p.last.Store(&text)
	return nil
}

// runSwarm answers until in ends.
func runSwarm(in io.Reader, out io.Writer) error {
	debug.SetGCPercent(50)
	ctx, cancel := context.WithCancel(context.Background())
	s := &swarm{codec: fleet.NewCodec()}
	defer s.running.Wait()
	defer cancel()
	lines, enc := bufio.NewReader(in), json.NewEncoder(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var q ask
		if err := json.Unmarshal(line, &q); err != nil {
			return err
		}
		a, err := s.do(ctx, &q)
		if err != nil {
			a.Error = err.Error()
		}
		if err := enc.Encode(a); err != nil {
			return err
		}
	}
}

func (s *swarm) do(ctx context.Context, q *ask) (a answer, err error) {
	switch q.Op {
	case "start":
		err = s.start(ctx, q)
	case "flood":
		s.flood(ctx, q)
	case "heard":
		for _, x := range s.agents {
			if at, ok := x.when(q.Target); ok {
				a.Heard = append(a.Heard, at)
			}
		}
	}
	a.Agents, a.Flooding, a.Appended, a.Blocked = len(s.agents), s.flooding.Load() > 0, s.appended.Load(), s.blocked.Load()
	for _, x := range s.agents {
		if x.link.Connected() {
			a.Connected++
		}
		if x.link.Synced() {
			a.Synced++
		}
	}
	for _, x := range s.agents[:s.senders] {
		a.Waiting += x.spool.Stats().Bytes
	}
	if a.Problems = s.problems.n.Load(); a.Problems > 0 {
		a.Last = *s.problems.last.Load()
	}
	return a, err
}

// start makes the agents whose credentials are in a file, and lets them connect.
func (s *swarm) start(ctx context.Context, q *ask) error {
	b, err := os.ReadFile(q.File)
	if err != nil {
		return err
	}
	var list []identity.Credentials
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	var shared *tls.Config // ten thousand copies of one CA are no part of the measurement
	for i := range list {
		c := &list[i]
		x := &simulated{id: c.ID, acted: make(chan struct{}, 1), heard: map[string]int64{}}
		if x.spool, err = spool.Open(filepath.Join(q.Dir, c.ID), spool.Options{MaxBytes: q.Spool, SegmentBytes: max(q.Spool/8, 1<<18)}); err != nil {
			return err
		}
		o := link.AgentOptions{
			Credentials: c, Dir: q.Dir, Spool: x.spool, Codec: s.codec, Log: slog.New(&s.problems), At: c.Joined,
			SetAt: func(fleet.Place, bool) error { return nil }, Orders: x.orders,
			Undo:     func(context.Context, fleet.Undo) error { return nil },
			Bundle:   func(context.Context, fleet.Bundle) error { return nil },
			Receipts: x.receiptsAfter, ReceiptsSent: x.receiptsSent, Acted: x.acted,
			Presence: func(p *fleet.Presence) { p.Version, p.OS, p.Arch, p.Host = "bench", "linux", "amd64", c.Name },
			Connect: []nats.Option{func(o *nats.Options) error {
				if shared == nil {
					shared = o.TLSConfig
				}
				o.TLSConfig = shared
				return nil
			}},
		}
		if x.link, err = link.NewAgent(o); err != nil {
			return err
		}
		s.agents = append(s.agents, x)
		s.running.Go(func() {
			if err := x.link.Run(ctx); err != nil {
				s.problems.n.Add(1)
				text := "agent " + x.id + ": " + err.Error()
				s.problems.last.Store(&text)
			}
			x.link.Close()
			_ = x.spool.Close() // its folder is removed next
		})
	}
	return nil
}

// orders is the stand-in for the executor: each order is carried out at once.
func (x *simulated) orders(_ context.Context, orders []riposte.Order) error {
	now := time.Now()
	x.mu.Lock()
	for i := range orders {
		o := &orders[i]
		r := riposte.Receipt{Order: o.ID, Host: x.id, Time: now.UTC(), Outcome: riposte.Verified, Command: o.Command.Name, Target: o.Target,
			Mechanism: "nftables", Until: now.Add(time.Hour).UTC(), By: o.By}
		if o.Alert != nil {
			r.Rule, r.Alert = o.Alert.Rule.ID, o.Alert.ID
		}
		x.receipts = append(x.receipts, r)
		x.heard[o.Target.Value] = now.UnixNano()
	}
	x.mu.Unlock()
	select {
	case x.acted <- struct{}{}:
	default: // it knows
	}
	return nil
}

func (x *simulated) receiptsAfter(_ context.Context, after int64, limit int) ([]riposte.Receipt, int64, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	rest := x.receipts[min(after-x.sent, int64(len(x.receipts))):]
	rest = slices.Clone(rest[:min(limit, len(rest))])
	return rest, after + int64(len(rest)), nil
}

func (x *simulated) receiptsSent(last int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.receipts, x.sent = slices.Clone(x.receipts[last-x.sent:]), last
	return nil
}

func (x *simulated) when(target string) (int64, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	at, ok := x.heard[target]
	return at, ok
}

// together is how many lines an agent reads at once.
const together = 250

// flood has the first agents send events, each as fast as its share of the rate,
// or as its spool takes them.
func (s *swarm) flood(ctx context.Context, q *ask) {
	n := min(q.Agents, len(s.agents))
	s.senders = n
	share := q.Events / n
	s.flooding.Store(int32(n))
	s.appended.Store(0)
	s.blocked.Store(0)
	for i, x := range s.agents[:n] {
		from, to := q.First+i*share, q.First+(i+1)*share
		if i == n-1 {
			to = q.First + q.Events
		}
		s.running.Go(func() {
			defer s.flooding.Add(-1)
			if err := s.send(ctx, x, from, to, float64(q.Rate)/float64(n)); err != nil && ctx.Err() == nil {
				s.problems.n.Add(1)
				text := err.Error()
				s.problems.last.Store(&text)
			}
		})
	}
}

// send puts the events with these serial numbers into a spool.
func (s *swarm) send(ctx context.Context, x *simulated, from, to int, rate float64) error {
	start := time.Now().Add(-time.Duration(rand.Float64() * together / max(rate, 1) * float64(time.Second))) // not all at the same instant
	for at := from; at < to; {
		n := min(together, to-at)
		if rate > 0 {
			due := start.Add(time.Duration(float64(at-from+n) / rate * float64(time.Second)))
			select {
			case <-time.After(time.Until(due)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		now := time.Now()
		b := riposte.Batch{Source: "file:/var/log/auth.log", Position: strconv.Itoa(at + n), Events: make([]riposte.Event, n)}
		for i := range b.Events {
			b.Events[i] = riposte.Event{Time: now, Location: "/var/log/auth.log", Text: line(now, x.id, at+i)}
		}
		err := link.Pack(s.codec, []riposte.Batch{b}, false, func(payloads [][]byte, positions map[string]string) error {
			asked := time.Now()
			_, err := x.spool.AppendAll(ctx, payloads, positions)
			s.blocked.Add(int64(time.Since(asked)))
			return err
		})
		if err != nil {
			return fmt.Errorf("agent %s: %w", x.id, err)
		}
		s.appended.Add(int64(n))
		at += n
	}
	return nil
}

// perTen is how many of ten lines have an alert whose user name has the serial
// number of the event, by which losses and repeats show.
const perTen = 2

// marked reports whether the alert of an event shows its number.
func marked(serial int) bool { return serial%10 < perTen }

// line is what sshd and PAM write, in about the proportions of a server on the
// open network: two of ten are attempts, three are logins and sessions.
func line(now time.Time, host string, serial int) string {
	head := now.Format(time.Stamp) + " web-" + host + " sshd[" + strconv.Itoa(1000+serial/10%60000) + "]: "
	from := netip.AddrFrom4([4]byte{203, 0, 113 - byte(serial/10>>8%64), byte(serial / 10)}).String()
	port := strconv.Itoa(1024 + serial%60000)
	switch k := serial % 10; {
	case k < perTen:
		return head + "Invalid user u" + strconv.Itoa(serial) + " from " + from + " port " + port
	case k == 2:
		return head + "Accepted publickey for deploy from 192.0.2." + strconv.Itoa(serial/10%250) + " port " + port + " ssh2: ED25519 SHA256:" + strconv.Itoa(serial*48271)
	case k == 3:
		return head + "pam_unix(sshd:session): session opened for user deploy(uid=1000) by (uid=0)"
	case k == 4:
		return head + "pam_unix(sshd:session): session closed for user deploy"
	case k < 7:
		return head + "Received disconnect from " + from + " port " + port + ":11: Bye Bye [preauth]"
	case k == 7:
		return head + "Disconnected from invalid user u" + strconv.Itoa(serial-serial%10) + " " + from + " port " + port + " [preauth]"
	}
	return head + "Connection closed by " + from + " port " + port + " [preauth]"
}

// attackers are addresses that nothing else in the benchmark uses.
type attackers struct {
	all  []netip.Addr
	next int
}

func newAttackers() *attackers { return &attackers{all: rig.Attackers(100000)} }

func (a *attackers) take() netip.Addr {
	a.next++
	return a.all[a.next-1]
}
