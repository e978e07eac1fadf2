package firewalld

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/conntrack"
)

// Mechanism blocks addresses and prefixes with firewalld's rich rules. It is
// used by one goroutine at a time; another one of its own puts back what
// firewalld forgets.
type Mechanism struct {
	o     Options
	flows *conntrack.Table // nil: this kernel tracks no connections
	stop  context.CancelFunc
	life  context.Context // ends with Close
	watch sync.WaitGroup

	mu      sync.Mutex
	daemon  *daemon                    // nil: the bus has gone
	applied map[netip.Prefix]time.Time // by this instance and not undone, with the end
}

var _ enforce.Lister = (*Mechanism)(nil)

// New connects to firewalld. It changes nothing yet. It fails where there is no
// bus or firewalld is not running; firewalld is not started by it.
func New(o Options) (*Mechanism, error) {
	m := &Mechanism{o: o, applied: make(map[netip.Prefix]time.Time)}
	m.life, m.stop = context.WithCancel(context.Background())
	if err := m.connect(); err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	if _, err := m.daemon.used(m.life); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", Name, err), m.Close())
	}
	if flows, err := conntrack.Open(); err == nil { // a kernel may do without
		m.flows = flows
	}
	return m, nil
}

// Close leaves the bus. What is in force stays in force.
func (m *Mechanism) Close() (err error) {
	m.stop()
	m.mu.Lock()
	if m.daemon != nil {
		err = m.daemon.conn.Close()
		m.daemon = nil
	}
	m.mu.Unlock()
	m.watch.Wait()
	if m.flows != nil {
		err = errors.Join(err, m.flows.Close())
	}
	return err
}

// Name returns "firewalld".
func (m *Mechanism) Name() string { return Name }

// Kind returns riposte.Address.
func (m *Mechanism) Kind() riposte.Kind { return riposte.Address }

// Durable returns false: runtime configuration ends with firewalld.
func (m *Mechanism) Durable() bool { return false }

// connect sees to the connection; it is called with m.mu held or before the
// mechanism is shared.
func (m *Mechanism) connect() error {
	if err := m.life.Err(); err != nil {
		return errors.New("the mechanism is closed")
	}
	if m.daemon != nil && m.daemon.conn.Connected() {
		return nil
	}
	signals := make(chan *dbus.Signal, 16)
	d, err := dial(m.o.Bus, signals)
	if err != nil {
		m.daemon = nil
		return err
	}
	m.daemon = d
	m.watch.Go(func() {
		for s := range signals {
			if forgot(s) {
				m.restore()
			}
		}
	})
	return nil
}

// restore puts back what firewalld has forgotten. What fails now is found
// missing in the next List.
func (m *Mechanism) restore() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.daemon == nil {
		return
	}
	now := time.Now()
	var missing []*enforce.Member
	for p, until := range m.applied {
		member := &enforce.Member{Prefix: p, Until: until}
		if member.Over(now) {
			delete(m.applied, p)
			continue
		}
		missing = append(missing, member)
	}
	if len(missing) > 0 {
		_, _ = m.put(m.life, missing, nil)
	}
}

// Apply adds the rules, lists them to see that they are there, and deletes the
// targets' entries in the connection table.
func (m *Mechanism) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	members := enforce.Members(effects, results)
	if len(members) == 0 {
		return results
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.connect(); err != nil {
		enforce.FailAll(members, results, fmt.Errorf("%s: %w", Name, err))
		return results
	}
	done, used := m.put(ctx, members, results)
	var blocked []netip.Prefix
	for _, member := range done {
		m.applied[member.Prefix] = member.Until
		blocked = append(blocked, member.Prefix)
	}
	m.verify(ctx, used, done, results)
	m.cut(ctx, blocked, results)
	return results
}

// put blocks the members in every zone in use, and returns those that were
// done, and the zones. results may be nil.
func (m *Mechanism) put(ctx context.Context, members []*enforce.Member, results []enforce.Result) (done []*enforce.Member, used []string) {
	fail := func(members []*enforce.Member, err error) {
		if results != nil {
			enforce.FailAll(members, results, fmt.Errorf("%s: %w", Name, err))
		}
	}
	used, err := m.daemon.used(ctx)
	there := make(map[string]held, len(used))
	for _, zone := range used {
		if err == nil {
			there[zone], err = m.daemon.rules(ctx, zone)
		}
	}
	if err != nil {
		fail(members, err)
		return nil, used
	}
	for i, member := range members {
		if err := ctx.Err(); err != nil {
			fail(members[i:], err)
			break
		}
		for _, zone := range used {
			if err = m.block(ctx, zone, there[zone][member.Prefix], member); err != nil {
				fail([]*enforce.Member{member}, err)
				break
			}
		}
		if err == nil {
			done = append(done, member)
		}
	}
	return done, used
}

// block makes the member's rule in a zone that has it in the given slots.
func (m *Mechanism) block(ctx context.Context, zone string, in [slots]bool, member *enforce.Member) error {
	until, known := m.applied[member.Prefix]
	if known && until.Equal(member.Until) && in[0] != in[1] {
		return nil // as it is
	}
	if in[0] && in[1] { // left by a crash between the two steps below
		if err := m.daemon.remove(ctx, zone, 0, member.Prefix); err != nil {
			return err
		}
		in[0] = false
	}
	s := slot(0)
	if in[0] {
		s = 1
	}
	if err := m.daemon.add(ctx, zone, s, member.Prefix, seconds(member.Until)); err != nil {
		return err
	}
	if in[1-s] {
		return m.daemon.remove(ctx, zone, 1-s, member.Prefix)
	}
	return nil
}

// seconds is how long firewalld shall keep a rule that ends at until, 0 for
// ever. It has room for 68 years.
func seconds(until time.Time) int32 {
	if until.IsZero() {
		return 0
	}
	return int32(min(max(math.Ceil(time.Until(until).Seconds()), 1), math.MaxInt32))
}

// verify reads back what was put.
func (m *Mechanism) verify(ctx context.Context, used []string, members []*enforce.Member, results []enforce.Result) {
	if len(members) == 0 {
		return
	}
	var there []held
	for _, zone := range used {
		rules, err := m.daemon.rules(ctx, zone)
		if err != nil {
			return // applied, not verified
		}
		there = append(there, rules)
	}
	now := time.Now()
	for _, member := range members {
		everywhere := true
		for _, rules := range there {
			in := rules[member.Prefix]
			everywhere = everywhere && (in[0] || in[1])
		}
		if !everywhere && !member.Over(now) {
			member.Fail(results, fmt.Errorf("%s: it took the rule for %s, but does not list it", Name, member.Prefix))
			continue
		}
		for _, i := range member.Effects {
			results[i].Verified = everywhere
		}
	}
}

// cut deletes the connection entries of what is now blocked: firewalld lets
// established connections through. An effect whose connections go on is worth
// a remark, and is in force for new ones.
func (m *Mechanism) cut(ctx context.Context, blocked []netip.Prefix, results []enforce.Result) {
	if len(blocked) == 0 {
		return
	}
	err := errors.New("this kernel has no connection table")
	if m.flows != nil {
		_, err = m.flows.Cut(ctx, blocked)
	}
	if err == nil {
		return
	}
	for i := range results {
		if results[i].Err == nil {
			results[i].Output = fmt.Sprintf("established connections may go on: %v", err)
		}
	}
}

// Undo removes the rules from every zone. When firewalld is not running, they
// went with it.
func (m *Mechanism) Undo(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	members := enforce.Members(effects, results)
	if len(members) == 0 {
		return results
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	there, err := map[string]held(nil), ctx.Err()
	if err == nil {
		err = m.connect()
	}
	if err == nil {
		there, err = m.everywhere(ctx)
	}
	if errors.Is(err, errAway) {
		for _, member := range members {
			delete(m.applied, member.Prefix)
			for _, i := range member.Effects {
				results[i].Output = "firewalld is not running: its rules went with it"
			}
		}
		return results
	}
	if err != nil {
		enforce.FailAll(members, results, fmt.Errorf("%s: %w", Name, err))
		return results
	}
	for i, member := range members {
		if err := ctx.Err(); err != nil {
			enforce.FailAll(members[i:], results, fmt.Errorf("%s: %w", Name, err))
			break
		}
		delete(m.applied, member.Prefix)
		if err := m.release(ctx, there, member.Prefix); err != nil {
			member.Fail(results, fmt.Errorf("%s: %w", Name, err))
		}
	}
	return results
}

// everywhere returns our rules in all zones, used or not.
func (m *Mechanism) everywhere(ctx context.Context) (map[string]held, error) {
	names, err := m.daemon.all(ctx)
	if err != nil {
		return nil, err
	}
	there := make(map[string]held, len(names))
	for _, zone := range names {
		rules, err := m.daemon.rules(ctx, zone)
		if err != nil {
			return nil, err
		}
		if len(rules) > 0 {
			there[zone] = rules
		}
	}
	return there, nil
}

func (m *Mechanism) release(ctx context.Context, there map[string]held, p netip.Prefix) error {
	for zone, rules := range there {
		for s, in := range rules[p] {
			if !in {
				continue
			}
			if err := m.daemon.remove(ctx, zone, slot(s), p); err != nil {
				return err
			}
		}
	}
	return nil
}

// List returns what is blocked in every zone in use. What a zone lacks that has
// come into use meanwhile is not listed: applying it again mends that.
// firewalld does not tell the ends.
func (m *Mechanism) List(ctx context.Context) ([]enforce.Effect, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.connect(); err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	used, err := m.daemon.used(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	count := make(map[netip.Prefix]int)
	for _, zone := range used {
		rules, err := m.daemon.rules(ctx, zone)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", Name, err)
		}
		for p := range rules {
			count[p]++
		}
	}
	var out []enforce.Effect
	for p, n := range count {
		if n == len(used) {
			out = append(out, enforce.Effect{Target: enforce.AddressTarget(p)})
		}
	}
	return out, nil
}
