//go:build linux

// Package rig runs the built riposte for benchmarks: in a network namespace of
// its own, with files of its own, following one log.
package rig

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"riposte/internal/api"
)

const inside = "RIPOSTE_BENCH_INSIDE" // set in the child that owns the namespace

// Built is where make build puts the binary.
const Built = "build/riposte"

// Build builds the binary anew when it is the one that make build makes, so that
// no old one is measured for the sources beside it. Any other is left as it is.
func Build(bin string) error {
	if filepath.Clean(bin) != Built {
		return nil
	}
	if out, err := exec.Command("make", "-s", "build").CombinedOutput(); err != nil {
		return fmt.Errorf("make build: %w\n%s(-bin measures another binary)", err, out)
	}
	return nil
}

// Main runs f in a network namespace of its own, which takes root, and ends
// the process with its outcome.
func Main(name string, f func() error) {
	if os.Getenv(inside) == "" {
		os.Exit(reexec(name))
	}
	err := error(nil)
	if lo, e := netlink.LinkByName("lo"); e == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err == nil {
		err = f()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

func reexec(name string) int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode()
		}
		fmt.Fprintf(os.Stderr, "%s: needs root for a network namespace: %v\n", name, err)
		return 1
	}
	return 0
}

// Rig is one installation of riposte.
type Rig struct {
	Dir    string
	Client *api.Client
	bin    string
	cmd    *exec.Cmd
	done   chan error
}

// New makes the files of an installation that answers a failed login of sshd
// with command for as long as timeout.
func New(bin, command string, timeout time.Duration) (*Rig, error) {
	dir, err := os.MkdirTemp("", "riposte-bench")
	if err != nil {
		return nil, err
	}
	r := &Rig{Dir: dir, bin: bin, Client: api.NewClient(filepath.Join(dir, "riposte.sock"))}
	conf := fmt.Sprintf(`<ossec_config>
  <command><name>answer</name><executable>%s</executable><expect>srcip</expect><timeout_allowed>yes</timeout_allowed></command>
  <active-response><command>answer</command><location>local</location><rules_group>authentication_failed|invalid_login</rules_group><timeout>%d</timeout></active-response>
  <localfile><log_format>syslog</log_format><location>%s/auth.log</location></localfile>
</ossec_config>
`, command, int(timeout/time.Second), dir)
	settings := fmt.Sprintf("ossec_conf: %[1]s/ossec.conf\nstate_dir: %[1]s/state\nlog_dir: %[1]s/log\nsocket: %[1]s/riposte.sock\n"+
		"active_response_bin: %[1]s/bin\nfirewall: nftables\nguard: {breaker: {targets: 0}}\n", dir)
	for name, text := range map[string]string{"auth.log": "", "ossec.conf": conf, "riposte.yaml": settings} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return r, os.Mkdir(filepath.Join(dir, "bin"), 0o755)
}

// Start starts the daemon and waits until it answers on its socket, which is
// when it has reconciled. It returns how long that took.
func (r *Rig) Start(ctx context.Context) (time.Duration, error) {
	out, err := os.Create(filepath.Join(r.Dir, "out"))
	if err != nil {
		return 0, err
	}
	defer out.Close()
	r.cmd = exec.CommandContext(ctx, r.bin, "run", "--settings", filepath.Join(r.Dir, "riposte.yaml"))
	r.cmd.Stdout, r.cmd.Stderr = out, out
	start := time.Now()
	if err := r.cmd.Start(); err != nil {
		return 0, err
	}
	r.done = make(chan error, 1)
	go func() { r.done <- r.cmd.Wait() }()
	for {
		if _, err := r.Client.Status(ctx); err == nil {
			return time.Since(start), nil
		}
		select {
		case <-r.done:
			b, _ := os.ReadFile(out.Name())
			return 0, fmt.Errorf("riposte did not start:\n%s", b)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Stop ends the daemon with a signal.
func (r *Rig) Stop(sig syscall.Signal) {
	_ = r.cmd.Process.Signal(sig)
	<-r.done
}

// Remove removes the files.
func (r *Rig) Remove() {
	r.Client.Close()
	_ = os.RemoveAll(r.Dir)
}

// Log opens the followed log for writing.
func (r *Rig) Log() (*os.File, error) {
	return os.OpenFile(filepath.Join(r.Dir, "auth.log"), os.O_APPEND|os.O_WRONLY, 0)
}

// Resident is the daemon's resident memory in bytes.
func (r *Rig) Resident() (int64, error) {
	u, err := UsageOf(r.cmd.Process.Pid)
	return u.Resident, err
}

// CPU is the processor time that the daemon has taken since its start, user and
// system; 0 when it has ended.
func (r *Rig) CPU() time.Duration {
	u, _ := UsageOf(r.cmd.Process.Pid)
	return u.CPU
}

// Wrote is how many bytes the daemon has written since its start, to files and
// sockets; 0 when it has ended.
func (r *Rig) Wrote() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", r.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(b), "\nwchar: ")
	number, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseInt(number, 10, 64)
	return n
}

// Line is sshd's line about a wrong password.
func Line(a netip.Addr) string {
	return time.Now().Format(time.Stamp) + " web1 sshd[4242]: Failed password for root from " + a.String() + " port 50022 ssh2\n"
}

// Attackers returns n distinct addresses of the network for benchmarks
// (198.18.0.0/15), in no order, as attackers come.
func Attackers(n int) []netip.Addr {
	const network, step = 1 << 17, 48271 // odd, so that it meets every address
	out := make([]netip.Addr, n)
	for i := range out {
		a := i * step % network
		out[i] = netip.AddrFrom4([4]byte{198, 18 + byte(a>>16), byte(a >> 8), byte(a)})
	}
	return out
}

// Lines are the lines of all of them.
func Lines(as []netip.Addr) string {
	var b strings.Builder
	for _, a := range as {
		b.WriteString(Line(a))
	}
	return b.String()
}

// Blocked counts the elements of riposte's sets.
func Blocked() (int, error) {
	conn, err := nftables.New()
	if err != nil {
		return 0, err
	}
	sets, err := conn.GetSets(&nftables.Table{Family: nftables.TableFamilyINet, Name: "riposte"})
	if err != nil {
		return 0, err
	}
	found := map[string]bool{}
	for _, s := range sets {
		es, err := conn.GetSetElements(s)
		if err != nil {
			return 0, err // changed while it was read
		}
		for _, e := range es {
			found[string(e.Key)] = true
		}
	}
	return len(found), nil
}

// Await waits until want elements are there and returns since when start that
// took. Fewer after limit are an error.
func Await(start time.Time, want int, limit time.Duration) (time.Duration, error) {
	for n := -1; ; {
		looked := time.Now()
		if got, err := Blocked(); err == nil {
			if n = got; n == want {
				return time.Since(start), nil
			}
		}
		// Reading very many elements takes its time, and the processor's.
		time.Sleep(max(5*time.Millisecond, 4*time.Since(looked)))
		if time.Since(start) > limit {
			return 0, fmt.Errorf("%d of %d elements after %v", n, want, limit)
		}
	}
}
