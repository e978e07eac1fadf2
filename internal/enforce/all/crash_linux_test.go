package all_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/enforce/all"
	"riposte/internal/enforce/isolate"
	"riposte/internal/enforce/script"
	"riposte/internal/executor"
	"riposte/internal/journal"
	"riposte/internal/lab"
)

// The process that is killed, and the one that takes up what it left, are told
// their case and folder by these.
const (
	childCase = "RIPOSTE_CRASH_CASE"
	childDir  = "RIPOSTE_CRASH_DIR"
	childLast = "RIPOSTE_CRASH_LAST" // set: recover, check and undo all
)

func TestMain(m *testing.M) {
	if name := os.Getenv(childCase); name != "" {
		if err := child(name, os.Getenv(childDir), os.Getenv(childLast) != ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(lab.Main(m))
}

// real is one mechanism on a real host.
type real struct {
	name       string
	executable string
	firewall   all.Firewall
	scripts    bool // the command is a file in the script folder
	tools      []string
	targets    func(dir string) [2]riposte.Target                    // for a while, for an hour; isolation has but one
	holds      func(dir string, target riposte.Target) (bool, error) // what the host says, without riposte
	prepare    func(t *testing.T, dir string)
}

func addresses(string) [2]riposte.Target {
	return [2]riposte.Target{{Kind: riposte.Address, Value: "203.0.113.9"}, {Kind: riposte.Address, Value: "203.0.113.10"}}
}

// says reports whether a program prints the text; absent says how it fails when
// there is nothing at all.
func says(text, absent string, argv ...string) (bool, error) {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil && absent != "" && strings.Contains(string(out), absent) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	for _, f := range strings.FieldsFunc(string(out), func(r rune) bool { return strings.ContainsRune(" \t\n,{}\"", r) }) {
		if f == text {
			return true, nil
		}
	}
	return false, nil
}

func reals() []real {
	return []real{
		{
			name: "nftables", executable: "firewall-drop.sh", firewall: all.Nftables, tools: []string{"nft"}, targets: addresses,
			holds: func(_ string, t riposte.Target) (bool, error) {
				return says(t.Value, "No such file", "nft", "list", "table", "inet", "riposte")
			},
		},
		{
			name: "iptables", executable: "firewall-drop.sh", firewall: all.Iptables, tools: []string{"iptables", "ipset"}, targets: addresses,
			holds: func(_ string, t riposte.Target) (bool, error) {
				return says(t.Value, "does not exist", "ipset", "list", "riposte4")
			},
		},
		{
			name: "null route", executable: "route-null.sh", tools: []string{"ip"}, targets: addresses,
			holds: func(_ string, t riposte.Target) (bool, error) {
				return says(t.Value, "", "ip", "-4", "route", "show", "table", "main", "type", "blackhole")
			},
		},
		{
			name: "hosts.deny", executable: "host-deny.sh", targets: addresses,
			holds: func(dir string, t riposte.Target) (bool, error) {
				b, err := os.ReadFile(filepath.Join(dir, "hosts.deny"))
				if text := string(b); err == nil && strings.Count(text, "foreign: 192.0.2.1") != 1 {
					return false, fmt.Errorf("the file is no longer what it was: %q", text)
				}
				return strings.Contains(string(b), t.Value+"\n"), err
			},
			prepare: func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "hosts.deny"), "foreign: 192.0.2.1\n", 0o644)
			},
		},
		{
			name: "account", executable: "disable-account.sh", tools: []string{"useradd", "usermod", "passwd"},
			targets: func(string) [2]riposte.Target {
				return [2]riposte.Target{{Kind: riposte.User, Value: "crashanna"}, {Kind: riposte.User, Value: "crashbert"}}
			},
			holds: func(_ string, t riposte.Target) (bool, error) {
				out, err := exec.Command("passwd", "--status", t.Value).CombinedOutput()
				if f := strings.Fields(string(out)); err == nil && len(f) > 1 {
					return f[1] == "L", nil
				}
				return false, fmt.Errorf("passwd --status %s: %w: %s", t.Value, err, out)
			},
		},
		{
			name: "quarantine", executable: "quarantine",
			targets: func(dir string) [2]riposte.Target {
				return [2]riposte.Target{{Kind: riposte.File, Value: filepath.Join(dir, "for a while")}, {Kind: riposte.File, Value: filepath.Join(dir, "for an hour")}}
			},
			holds: func(_ string, t riposte.Target) (bool, error) {
				b, err := os.ReadFile(t.Value)
				if errors.Is(err, fs.ErrNotExist) {
					return true, nil
				}
				if string(b) != "wicked" {
					return false, fmt.Errorf("%s holds %q: %w", t.Value, b, err)
				}
				return false, nil
			},
			prepare: func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "for a while"), "wicked", 0o644)
				write(t, filepath.Join(dir, "for an hour"), "wicked", 0o644)
			},
		},
		{
			name: "isolation", executable: "isolate-host", tools: []string{"nft"},
			targets: func(string) [2]riposte.Target { return [2]riposte.Target{} },
			holds: func(string, riposte.Target) (bool, error) {
				return says("elements", "No such file", "nft", "list", "set", "inet", "riposte_isolate", "lasting")
			},
		},
		{
			name: "script", executable: "note.sh", scripts: true, targets: addresses,
			holds: func(dir string, t riposte.Target) (bool, error) {
				b, err := os.ReadFile(filepath.Join(dir, t.Value))
				switch {
				case errors.Is(err, fs.ErrNotExist) || err == nil && len(b) == 0:
					return false, nil
				case err == nil && string(b) != "blocked\n":
					err = fmt.Errorf("the script was run more than once: %q", b)
				}
				return true, err
			},
			prepare: func(t *testing.T, dir string) {
				if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
					t.Fatal(err)
				}
				// Done twice it does it twice, as scripts do; undone, it takes one away.
				write(t, filepath.Join(dir, "bin", "note.sh"), "#!/bin/sh\nf="+dir+"/$3\ncase $1 in add) echo blocked >>\"$f\";; delete) [ ! -e \"$f\" ] || sed -i 1d \"$f\";; esac\n", 0o755)
			},
		},
		{
			name: "firewalld", executable: "firewalld-drop", tools: []string{"firewalld", "firewall-cmd", "dbus-daemon"}, targets: addresses,
			holds: func(_ string, t riposte.Target) (bool, error) {
				out, err := exec.Command("firewall-cmd", "--list-rich-rules").CombinedOutput()
				return strings.Contains(string(out), `"`+t.Value+`"`), err
			},
		},
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// while is how long the first target is answered.
const while = 300 * time.Millisecond

// host is a running executor over the real mechanisms.
type host struct {
	real
	dir  string
	j    *journal.Journal
	x    *executor.Executor
	stop func() error
}

func child(name, dir string, last bool) error {
	for _, r := range reals() {
		if r.name != name {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		h, err := start(ctx, r, dir)
		if err != nil {
			return err
		}
		if last {
			err = h.check(ctx)
		} else {
			err = h.work(ctx)
		}
		return errors.Join(err, h.stop())
	}
	return fmt.Errorf("no mechanism %q", name)
}

func start(ctx context.Context, r real, dir string) (*host, error) {
	o := all.Options{
		Builtin: all.Prefer, Firewall: r.firewall, StateDir: dir, HostsDeny: filepath.Join(dir, "hosts.deny"),
		Script:  script.Options{Dir: filepath.Join(dir, "bin")},
		Isolate: isolate.Options{Keep: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
	}
	if r.scripts {
		o.Builtin = all.Never
	}
	reg := all.New(o)
	j, rep, err := journal.Open(filepath.Join(dir, "journal.db"), journal.Options{Reserve: -1})
	if err != nil {
		return nil, err
	}
	if w := rep.Words(); len(w) > 0 {
		return nil, fmt.Errorf("a crash is no damage: %v", w)
	}
	m, err := reg.Resolve(r.command())
	if err != nil {
		return nil, err
	}
	if m.Name() != r.name && !r.scripts {
		return nil, fmt.Errorf("%s is carried out by %s, expected %s", r.executable, m.Name(), r.name)
	}
	x := executor.New(executor.Options{Journal: j, Resolve: reg.Resolve, Mechanisms: reg.Mechanisms(), Boot: "this one", Step: lab.Steps()})
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- x.Run(running) }()
	h := &host{real: r, dir: dir, j: j, x: x, stop: func() error {
		cancel()
		return errors.Join(<-done, j.Close(), reg.Close())
	}}
	select {
	case <-x.Ready():
		return h, nil
	case <-ctx.Done():
		return nil, errors.Join(errors.New("it does not get ready"), h.stop())
	}
}

func (r *real) command() riposte.Command {
	kind := r.targets("")[0].Kind
	return riposte.Command{Name: "answer", Executable: r.executable, Expect: []riposte.Kind{kind}}
}

// work passes every step: for the first target with an end by the clock, for
// the second with one by hand. Twice, since what an undo leaves behind must not
// be in the way of the next answer.
func (h *host) work(ctx context.Context) error {
	targets := h.targets(h.dir)
	for round := range 2 {
		for i, d := range []time.Duration{while, time.Hour} {
			id := fmt.Sprintf("order %d %d %d", time.Now().UnixNano(), round, i)
			rs, err := h.x.Do(ctx, []riposte.Order{{ID: id, Command: h.command(), Target: targets[i], Timeout: d, Issued: time.Now(), By: "a test"}})
			if err != nil {
				return err
			}
			if o := rs[0].Outcome; o != riposte.Verified && o != riposte.Applied && o != riposte.Expired {
				return fmt.Errorf("%s on %s: %s: %s", h.name, targets[i], o, rs[0].Reason)
			}
			if i == 0 {
				err = h.until(ctx, func() error { return h.agree(ctx, true) })
			} else {
				_, err = h.x.Undo(ctx, executor.Selection{Command: "answer"}, "a test", nil)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// check sees that what the journal says is in force is what the host has, and
// that nothing is left beyond its time or after all was undone.
func (h *host) check(ctx context.Context) error {
	if err := h.until(ctx, func() error { return h.agree(ctx, false) }); err != nil {
		return err
	}
	if _, err := h.x.Undo(ctx, executor.Selection{All: true}, "a test", nil); err != nil && !errors.Is(err, executor.ErrNothing) {
		return err
	}
	if err := h.agree(ctx, true); err != nil {
		return fmt.Errorf("after all was undone: %w", err)
	}
	v, err := h.j.Verify(ctx)
	if err == nil && v.Fault != nil {
		err = fmt.Errorf("audit: %s", v.Fault.Text)
	}
	return err
}

// until waits for what is still under way.
func (h *host) until(ctx context.Context, ok func() error) error {
	for {
		err := ok()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// agree compares the host with the journal. With none, nothing may be left.
func (h *host) agree(ctx context.Context, none bool) error {
	list, err := h.j.InForce(ctx, journal.Filter{})
	if err != nil {
		return err
	}
	wanted := map[riposte.Target]bool{}
	for _, l := range list {
		wanted[l.Target] = true
		if none || l.Phase != journal.Held || time.Now().After(l.Until) || l.Trouble != "" {
			return fmt.Errorf("the journal has %s of %s, %s until %s %s", l.Command.Name, l.Target, l.Phase, l.Until, l.Trouble)
		}
	}
	for _, t := range h.targets(h.dir) {
		there, err := h.holds(h.dir, t)
		if err != nil {
			return err
		}
		if there != wanted[t] {
			return fmt.Errorf("that %s has %s on the host is %v, and in the journal %v", h.name, t, there, wanted[t])
		}
	}
	return nil
}

// TestKilledAtEveryStep kills a process at each numbered step between an order
// and the end of its undo, with each real mechanism, and has another take up
// what it left. Without RIPOSTE_SOAK every mechanism is killed at a third of the
// steps, so that each step has its turn.
func TestKilledAtEveryStep(t *testing.T) {
	soak := os.Getenv("RIPOSTE_SOAK") != ""
	counts := []int{1}
	if soak {
		counts = []int{1, 2, 3, 4}
	}
	for nr, r := range reals() {
		t.Run(r.name, func(t *testing.T) {
			lab.Need(t, r.tools...)
			env := os.Environ()
			switch r.name {
			case "firewalld":
				env = append(env, "DBUS_SYSTEM_BUS_ADDRESS="+lab.NewFirewalld(t).Bus)
			case "account":
				lab.PrivateDir(t, "/etc")
				for i, target := range r.targets("") {
					// Far from the numbers of people, whose processes would be ended.
					out, err := exec.Command("useradd", "--no-create-home", "--no-log-init", "--uid", fmt.Sprint(54321+i), "--password", "$6$salt$hash", target.Value).CombinedOutput()
					if err != nil {
						t.Fatalf("useradd: %v\n%s", err, out)
					}
				}
			}
			kills := 0
			for i, step := range executor.Steps() {
				if !soak && i%3 != nr%3 {
					continue
				}
				for _, nth := range counts {
					if kill(t, r, env, step, nth) {
						kills++
					}
				}
			}
			t.Logf("killed %d times", kills)
			if kills == 0 {
				t.Error("it was never killed")
			}
		})
	}
}

func kill(t *testing.T, r real, env []string, step string, nth int) (killed bool) {
	t.Helper()
	dir := t.TempDir()
	if r.prepare != nil {
		r.prepare(t, dir)
	}
	command := func(last string) *exec.Cmd {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(env[:len(env):len(env)], childCase+"="+r.name, childDir+"="+dir, childLast+"="+last)
		return cmd
	}
	first := command("")
	var said strings.Builder
	first.Stderr = &said
	t.Cleanup(func() {
		if t.Failed() && said.Len() > 0 {
			t.Logf("%s %d: %s", step, nth, said.String())
		}
	})
	_, killed = lab.KillAt(t, first, step, nth)
	if out, err := command("yes").CombinedOutput(); err != nil {
		t.Errorf("after a kill at the %d. %q: %v\n%s", nth, step, err, out)
	}
	return killed
}
