// Package guard says whether an order may be carried out on this host. It is
// asked at the host that acts, whoever gave the order: a rule, another machine
// or a person.
//
// It protects what a host cannot be without: its own addresses, its gateways
// and resolvers, the machines it is managed from, the administrators who are
// logged in, root and the accounts of the system, the files of the system, and
// everything on the allow list. Caps and a breaker bound how much a rule gone
// wild can do (see Admit).
//
// A refusal is a value with words for people and a code for programs. A person
// may force an order past the guard, which is audited, except where no honest
// purpose is thinkable: loopback and the host's own addresses, addresses that no
// sender has, root, and text that is no target at all (see Refusal.Final).
package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"riposte"
)

// Options say what is to be protected. A provider that is nil protects nothing;
// the zero value protects loopback, link-local and the files and accounts of
// the system.
type Options struct {
	Allow []Entry // the configured allow list: the first entry that fits decides

	// Lookup finds the addresses of a host name on the allow list.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)

	Own       func() ([]netip.Addr, error) // addresses of this host
	Gateways  func() ([]netip.Addr, error)
	Resolvers func() ([]netip.Addr, error)
	Peers     func() ([]netip.Addr, error) // manager, broker, time servers
	// Sessions are the addresses administrators are logged in from. It is asked
	// when an order comes, at most once a second.
	Sessions func() ([]netip.Addr, error)

	// Account returns the user id of an account of this host.
	Account   func(name string) (uid int, ok bool)
	SystemUID int // accounts below are the system's; 0 for 1000

	WidestV4 int // shortest IPv4 prefix that may be acted on; 0 for 24
	WidestV6 int // shortest IPv6 prefix; 0 for 48

	Protected []string                          // folders; nil for those of the system
	Real      func(path string) (string, error) // resolves links; nil for filepath.EvalSymlinks

	Limit   Limit            // of each response that Limits does not name
	Limits  map[string]Limit // by command name
	Breaker Breaker

	Now func() time.Time // wall clock; nil for time.Now
}

// The shortest prefixes that may be acted on, unless set otherwise.
const (
	defaultWidestV4  = 24
	defaultWidestV6  = 48
	defaultSystemUID = 1000
)

// Guard is safe for concurrent use.
type Guard struct {
	o    Options
	snap atomic.Pointer[snapshot]

	mu      sync.Mutex // of what snapshots are made of
	allow   []Entry
	byHand  []Entry
	names   map[string][]netip.Addr // last good answers
	own     []netip.Addr
	gates   []netip.Addr
	resolve []netip.Addr
	peers   []netip.Addr

	sessions sessions
	meter    meter

	widestV4, widestV6 atomic.Int32
}

// New returns a guard. Until the first Refresh it knows neither this host's
// addresses nor those behind the names on the allow list.
func New(o Options) (*Guard, error) {
	if o.WidestV4 == 0 {
		o.WidestV4 = defaultWidestV4
	}
	if o.WidestV6 == 0 {
		o.WidestV6 = defaultWidestV6
	}
	if o.SystemUID == 0 {
		o.SystemUID = defaultSystemUID
	}
	if o.Protected == nil {
		o.Protected = systemFolders()
	}
	if o.Real == nil {
		o.Real = filepath.EvalSymlinks
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.WidestV4 < 0 || o.WidestV4 > 32 || o.WidestV6 < 0 || o.WidestV6 > 128 {
		return nil, fmt.Errorf("widest prefixes of /%d and /%d: expected at most 32 and 128", o.WidestV4, o.WidestV6)
	}
	g := &Guard{o: o, allow: o.Allow, names: map[string][]netip.Addr{}}
	g.sessions.ask = o.Sessions
	g.meter = newMeter(o)
	g.SetBounds(o.Bounds())
	g.rebuild()
	return g, nil
}

// SetAllow replaces the configured allow list. Names that are new on it are
// known after the next Refresh.
func (g *Guard) SetAllow(list []Entry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.allow = list
	g.rebuild()
}

// SetByHand replaces the entries that were added by hand. They come before the
// configured ones.
func (g *Guard) SetByHand(list []Entry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.byHand = list
	g.rebuild()
}

// Refresh asks all providers and looks all names up. What cannot be had is left
// as it was last known, and is in the error.
func (g *Guard) Refresh(ctx context.Context) error {
	return errors.Join(g.refreshHost(), g.refreshNames(ctx))
}

func (g *Guard) refreshHost() error {
	var errs []error
	var got [4][]netip.Addr
	var ok [4]bool
	for i, p := range []struct {
		what string
		ask  func() ([]netip.Addr, error)
	}{{"own addresses", g.o.Own}, {"gateways", g.o.Gateways}, {"resolvers", g.o.Resolvers}, {"manager and time servers", g.o.Peers}} {
		if p.ask == nil {
			continue
		}
		list, err := p.ask()
		if err != nil {
			errs = append(errs, fmt.Errorf("find the %s to protect: %w", p.what, err))
			continue
		}
		got[i], ok[i] = list, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, to := range []*[]netip.Addr{&g.own, &g.gates, &g.resolve, &g.peers} {
		if ok[i] {
			*to = got[i]
		}
	}
	g.rebuild()
	return errors.Join(errs...)
}

func (g *Guard) refreshNames(ctx context.Context) error {
	if g.o.Lookup == nil {
		return nil
	}
	g.mu.Lock()
	wanted := map[string]bool{}
	for _, list := range [][]Entry{g.byHand, g.allow} {
		for _, e := range list {
			if e.Name != "" {
				wanted[e.Name] = true
			}
		}
	}
	g.mu.Unlock()
	var errs []error
	for name := range wanted {
		addrs, err := g.o.Lookup(ctx, name)
		if err == nil && len(addrs) == 0 {
			err = errors.New("it has no address")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("look up %s of the allow list: %w", name, err))
			continue
		}
		g.mu.Lock()
		g.names[name] = addrs
		g.mu.Unlock()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for name := range g.names {
		if !wanted[name] {
			delete(g.names, name)
		}
	}
	g.rebuild()
	return errors.Join(errs...)
}

// How often Run asks.
const (
	hostEvery = 30 * time.Second
	nameEvery = 5 * time.Minute
)

// Run refreshes until ctx ends. report is called with what cannot be had, once
// each time the words change.
func (g *Guard) Run(ctx context.Context, report func(error)) error {
	host, names := time.NewTicker(hostEvery), time.NewTicker(nameEvery)
	defer host.Stop()
	defer names.Stop()
	said := map[string]string{}
	say := func(what string, err error) {
		words := ""
		if err != nil {
			words = err.Error()
		}
		if said[what] != words && err != nil && ctx.Err() == nil {
			report(err)
		}
		said[what] = words
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-host.C:
			say("host", g.refreshHost())
		case <-names.C:
			say("names", g.refreshNames(ctx))
		}
	}
}

// Check says whether an order may be carried out: nil, or a *Refusal. It does
// not count: that is Admit's.
func (g *Guard) Check(o *riposte.Order) error {
	r := g.check(o.Target)
	if r == nil || o.Force && !r.Final {
		return nil
	}
	return r
}

// Protected says why a target must not be acted on, nil when it may.
func (g *Guard) Protected(t riposte.Target) *Refusal { return g.check(t) }

func (g *Guard) check(t riposte.Target) *Refusal {
	if canon, err := riposte.ParseTarget(t.Kind, t.Value); err != nil || canon != t {
		if err == nil {
			err = fmt.Errorf("%q is not how riposte writes %s", t.Value, canon)
		}
		return final("malformed", "%v", err)
	}
	switch t.Kind {
	case riposte.Address:
		return g.address(t)
	case riposte.User:
		return g.user(t.Value)
	case riposte.File:
		return g.file(t.Value)
	}
	return nil
}

// Refusal is why an order is not carried out.
type Refusal struct {
	Code   string // stable: "allow-listed", "gateway", …
	Reason string // one sentence
	Final  bool   // not even a forced order passes
	// Tripped is set on the refusal at which the breaker opened.
	Tripped bool
}

func (r *Refusal) Error() string { return r.Reason }

func refuse(code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Reason: fmt.Sprintf(format, args...)}
}

func final(code, format string, args ...any) *Refusal {
	r := refuse(code, format, args...)
	r.Final = true
	return r
}
