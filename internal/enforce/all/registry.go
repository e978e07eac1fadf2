// Package all is the list of the mechanisms: it opens those that this host has,
// and says which of them carries out a command, and why.
//
// A command is known by its executable. For the names that ship with OSSEC and
// Wazuh riposte has mechanisms of its own; which comes first, these or a file
// of that name in the script folder, is a setting. Every other name is a script.
package all

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/isolate"
	"riposte/internal/enforce/mail"
	"riposte/internal/enforce/script"
	"riposte/internal/enforce/webhook"
)

// Builtin says which comes first for a name that riposte knows. The order is
// that of riposte.yaml's words.
type Builtin uint8

// Fallback takes a file of that name in the script folder, and riposte's own
// mechanism where there is none that may be run. Prefer takes riposte's own,
// and the file where that cannot work here. Never takes files alone.
const (
	Fallback Builtin = iota
	Prefer
	Never
)

// Firewall says what blocks addresses on Linux. The order is that of
// riposte.yaml's words.
type Firewall uint8

// Auto takes the first that this host has: nftables, iptables with ipset, null
// routes, hosts.deny. None blocks by no firewall at all.
const (
	Auto Firewall = iota
	Nftables
	Iptables
	None
)

// Options are what the mechanisms need to know.
type Options struct {
	OS          string // whose mechanisms; "" for runtime.GOOS
	Builtin     Builtin
	Firewall    Firewall
	HostsDeny   string         // the file; "" for the system's own
	StateDir    string         // where account and restart keep what they must remember
	Run         enforce.Runner // of the systems' tools; nil for enforce.Exec
	Script      script.Options
	Mail        mail.Options
	Isolate     isolate.Options
	Webhook     webhook.Options // its Form is set here
	Reexec      func() error    // see restart.Options
	Roots       []string        // see restart.Options
	SystemUsers bool            // disable-account may lock system accounts too
}

// Registry opens each mechanism once, when it is first needed, and shares it
// among the commands. It is safe for concurrent use; the mechanisms are as they
// say themselves.
type Registry struct {
	o         Options
	scripts   *script.Runner
	noScripts error // why there is no runner

	mu       sync.Mutex
	opened   map[string]*opening
	resolved map[string]*opening // by command, see Resolve
}

// opening is what came of opening a built-in mechanism, or of choosing one.
type opening struct {
	mechanism enforce.Mechanism
	err       error
	at        time.Time

	unready error // why what it adds would not block
	asked   time.Time
}

// lookAgain is for how long it is believed that a mechanism cannot be opened,
// or that what it adds would not block.
const lookAgain = time.Minute

// New returns the registry. It opens nothing yet.
func New(o Options) *Registry {
	if o.OS == "" {
		o.OS = runtime.GOOS
	}
	if o.Run == nil {
		o.Run = enforce.Exec
	}
	r := &Registry{o: o, opened: map[string]*opening{}, resolved: map[string]*opening{}}
	r.scripts, r.noScripts = script.New(o.Script)
	return r
}

// Choice is which mechanism carries out a command.
type Choice struct {
	Mechanism enforce.Mechanism // nil when none can
	Why       string            // in words, for people: "nftables: …"
	Err       error             // why none can
}

// Resolve returns the mechanism that carries out the command. The answer is good
// for a second: in a burst of orders nobody looks at the script folder for each.
func (r *Registry) Resolve(cmd riposte.Command) (enforce.Mechanism, error) {
	key := strings.Join(append([]string{cmd.Executable, fmt.Sprint(cmd.Expect)}, cmd.ExtraArgs...), "\x00")
	r.mu.Lock()
	known, ok := r.resolved[key]
	r.mu.Unlock()
	if ok && time.Since(known.at) < good {
		return known.mechanism, known.err
	}
	c := r.Choose(cmd)
	r.mu.Lock()
	r.resolved[key] = &opening{mechanism: c.Mechanism, err: c.Err, at: time.Now()}
	r.mu.Unlock()
	return c.Mechanism, c.Err
}

// good is for how long Resolve goes by its last answer.
const good = time.Second

// Choose is Resolve with the reason.
func (r *Registry) Choose(cmd riposte.Command) Choice {
	d, known := dutyOf(cmd.Executable)
	if !known || r.o.Builtin == Never {
		c := r.script(cmd)
		if c.Err != nil && !known {
			c.Err = fmt.Errorf("%w; riposte has no mechanism of its own by that name", c.Err)
		}
		return c
	}
	first, second := r.script, func(cmd riposte.Command) Choice { return r.builtin(d, cmd.Executable) }
	if r.o.Builtin == Prefer {
		first, second = second, first
	}
	c := first(cmd)
	if c.Err == nil {
		return c
	}
	other := second(cmd)
	if other.Err != nil {
		other.Err = errors.Join(c.Err, other.Err)
		return other
	}
	if !errors.Is(c.Err, script.ErrNoScript) {
		other.Why += "; " + c.Err.Error()
	}
	return other
}

// Named returns the mechanism by the name under which it once carried out the
// command, whatever would carry it out now: what nftables blocked nftables lets
// go.
func (r *Registry) Named(name string, cmd riposte.Command) (enforce.Mechanism, error) {
	if strings.HasPrefix(name, "script ") {
		if r.noScripts != nil {
			return nil, r.noScripts
		}
		return r.scripts.Mechanism(cmd), nil
	}
	return r.open(name)
}

// Mechanisms returns all mechanisms of this host that may hold effects, of this
// run or an earlier one, by name: riposte's own that outlive it, and the scripts
// that a command was resolved to.
func (r *Registry) Mechanisms() []enforce.Mechanism {
	var out []enforce.Mechanism
	for _, name := range r.lasting() {
		if m, err := r.open(name); err == nil {
			out = append(out, m)
		}
	}
	if r.scripts != nil {
		for _, m := range r.scripts.Mechanisms() {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b enforce.Mechanism) int { return strings.Compare(a.Name(), b.Name()) })
	return out
}

// Close closes the mechanisms. What is in force stays in force.
func (r *Registry) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for name, o := range r.opened {
		if c, ok := o.mechanism.(io.Closer); ok && o.err == nil {
			errs = append(errs, c.Close())
		}
		delete(r.opened, name)
	}
	return errors.Join(errs...)
}

// script chooses the file of the command's name.
func (r *Registry) script(cmd riposte.Command) Choice {
	if r.noScripts != nil {
		return Choice{Err: r.noScripts}
	}
	path, err := r.scripts.Find(cmd.Executable)
	if err != nil {
		return Choice{Err: err}
	}
	return Choice{Mechanism: r.scripts.Mechanism(cmd), Why: path}
}

// builtin chooses the best mechanism for the duty that this host has.
func (r *Registry) builtin(d duty, executable string) Choice {
	names, err := r.candidates(d, executable)
	if err != nil {
		return Choice{Err: err}
	}
	var failed []error
	for i, name := range names {
		m, err := r.open(name)
		if err == nil && i < len(names)-1 {
			err = r.ready(name)
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		why := "riposte's own"
		if len(failed) > 0 {
			why += ", since " + strings.ReplaceAll(errors.Join(failed...).Error(), "\n", "; ")
		}
		return Choice{Mechanism: m, Why: why}
	}
	return Choice{Err: errors.Join(failed...)}
}

// open opens the mechanism of that name, once.
func (r *Registry) open(name string) (enforce.Mechanism, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.opened[name]
	if o == nil || o.err != nil && time.Since(o.at) > lookAgain {
		o = &opening{at: time.Now()}
		o.mechanism, o.err = r.make(name)
		r.opened[name] = o
	}
	return o.mechanism, o.err
}

// ready says why what an opened mechanism adds would not block, if it knows.
func (r *Registry) ready(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.opened[name]
	m, ok := o.mechanism.(interface{ Ready(context.Context) error })
	if ok && time.Since(o.asked) > lookAgain {
		ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
		defer cancel()
		o.unready, o.asked = m.Ready(ctx), time.Now()
	}
	return o.unready
}

// readyLimit bounds the tools that are asked whether a firewall is ready.
const readyLimit = 5 * time.Second
