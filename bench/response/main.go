// Command response measures riposte from the outside: from the moment a line
// is written to a log file to the moment the kernel reports the set element
// that blocks its source, and how long a burst of distinct attackers takes.
//
// It starts the built binary in a network namespace of its own, with the
// built-in rules and an ossec.conf that answers a single failed login, and
// needs root.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"riposte/internal/api"
)

const inside = "RIPOSTE_BENCH_INSIDE" // set in the child that owns the namespace

const conf = `<ossec_config>
  <command><name>firewall-drop</name><executable>firewall-drop</executable><expect>srcip</expect><timeout_allowed>yes</timeout_allowed></command>
  <active-response><command>firewall-drop</command><location>local</location><rules_group>authentication_failed|invalid_login</rules_group><timeout>3600</timeout></active-response>
  <localfile><log_format>syslog</log_format><location>%s</location></localfile>
</ossec_config>
`

func main() {
	bin := flag.String("bin", "build/riposte", "the binary to measure")
	runs := flag.Int("runs", 200, "single lines to measure")
	burst := flag.Int("burst", 10000, "distinct attackers in the burst")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	if os.Getenv(inside) == "" {
		os.Exit(reexec())
	}
	r, err := measure(*bin, *runs, *burst)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/response:", err)
		os.Exit(1)
	}
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(r)
		return
	}
	fmt.Printf("machine: %s, %d cores, kernel %s\n", runtime.GOARCH, runtime.NumCPU(), r.Kernel)
	fmt.Printf("log line → kernel element, %d runs: median %v, p99 %v, max %v\n", r.Runs, r.Median, r.P99, r.Max)
	fmt.Printf("burst of %d distinct attackers: all in the kernel after %v, missing %d\n", r.Burst, r.BurstTime, r.Missing)
}

// reexec runs this program again in a network namespace of its own.
func reexec() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode()
		}
		fmt.Fprintln(os.Stderr, "bench/response: needs root for a network namespace:", err)
		return 1
	}
	return 0
}

type result struct {
	Kernel    string        `json:"kernel"`
	Runs      int           `json:"runs"`
	Median    time.Duration `json:"median_ns"`
	P99       time.Duration `json:"p99_ns"`
	Max       time.Duration `json:"max_ns"`
	Burst     int           `json:"burst"`
	BurstTime time.Duration `json:"burst_ns"`
	Missing   int           `json:"missing"`
}

func measure(bin string, runs, burst int) (r result, err error) {
	if lo, err := netlink.LinkByName("lo"); err == nil {
		if err := netlink.LinkSetUp(lo); err != nil {
			return r, fmt.Errorf("bring up lo: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "riposte-bench")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	stop, err := start(ctx, bin, dir)
	if err != nil {
		return r, err
	}
	defer stop()

	log, err := os.OpenFile(filepath.Join(dir, "auth.log"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return r, err
	}
	defer log.Close()

	conn, err := nftables.New()
	if err != nil {
		return r, err
	}
	monitor := nftables.NewMonitor(
		nftables.WithMonitorEventBuffer(1<<16),
		nftables.WithMonitorAction(nftables.MonitorActionNew),
		nftables.WithMonitorObject(nftables.MonitorObjectElements))
	events, err := conn.AddMonitor(monitor)
	if err != nil {
		return r, err
	}
	defer monitor.Close()

	// One line to warm up: sets and rules may be made on first use.
	for i := range runs + 1 {
		a := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
		t, err := one(ctx, log, events, a)
		if err != nil {
			return r, err
		}
		if i > 0 {
			r.record(t)
		}
		time.Sleep(10 * time.Millisecond) // lines that come one by one, not a burst
	}
	slices.Sort(samples)
	r.Runs = len(samples)
	r.Median, r.P99, r.Max = samples[len(samples)/2], samples[len(samples)*99/100], samples[len(samples)-1]

	r.Burst = burst
	if r.BurstTime, r.Missing, err = many(ctx, log, events, burst); err != nil {
		return r, err
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		r.Kernel = strings.TrimSpace(string(b))
	}
	return r, nil
}

var samples []time.Duration

func (r *result) record(d time.Duration) { samples = append(samples, d) }

// start runs the daemon and waits until it answers on its socket.
func start(ctx context.Context, bin, dir string) (stop func(), err error) {
	log := filepath.Join(dir, "auth.log")
	for name, text := range map[string]string{
		"auth.log":     "",
		"ossec.conf":   fmt.Sprintf(conf, log),
		"riposte.yaml": settings(dir),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, bin, "run", "--settings", filepath.Join(dir, "riposte.yaml"))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	client := api.NewClient(filepath.Join(dir, "riposte.sock"))
	defer client.Close()
	for {
		if _, err := client.Status(ctx); err == nil {
			break
		}
		select {
		case <-done:
			b, _ := os.ReadFile(out.Name())
			return nil, fmt.Errorf("riposte did not start:\n%s", b)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-done
		_ = out.Close()
	}, nil
}

func settings(dir string) string {
	return fmt.Sprintf("ossec_conf: %[1]s/ossec.conf\nstate_dir: %[1]s/state\nlog_dir: %[1]s/log\nsocket: %[1]s/riposte.sock\nfirewall: nftables\n", dir)
}

func line(a netip.Addr) string {
	return time.Now().Format(time.Stamp) + " web1 sshd[4242]: Failed password for root from " + a.String() + " port 50022 ssh2\n"
}

// one writes a line and waits for its element.
func one(ctx context.Context, log *os.File, events <-chan *nftables.MonitorEvent, a netip.Addr) (time.Duration, error) {
	text := line(a)
	start := time.Now()
	if _, err := log.WriteString(text); err != nil {
		return 0, err
	}
	for {
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("no element for %s", a)
		case ev := <-events:
			if addrs(ev)[a] {
				return time.Since(start), nil
			}
		}
	}
}

// addrs returns the addresses an event put into a set.
func addrs(ev *nftables.MonitorEvent) map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	if ev == nil || ev.Error != nil {
		return out
	}
	if es, ok := ev.Data.([]nftables.SetElement); ok {
		for _, e := range es {
			if a, ok := netip.AddrFromSlice(e.Key); ok {
				out[a] = true
			}
		}
	}
	return out
}

// many writes n lines of distinct attackers at once and waits until all of
// them are blocked. The kernel's notifications may overflow, so that the sets
// themselves are read.
func many(ctx context.Context, log *os.File, events <-chan *nftables.MonitorEvent, n int) (time.Duration, int, error) {
	go func() { // nobody may hold up the kernel's notifications
		for range events {
		}
	}()
	var text strings.Builder
	want := map[netip.Addr]bool{}
	for i := range n {
		a := netip.AddrFrom4([4]byte{198, 19, byte(i >> 8), byte(i)})
		want[a] = true
		text.WriteString(line(a))
	}
	start := time.Now()
	if _, err := log.WriteString(text.String()); err != nil {
		return 0, 0, err
	}
	conn, err := nftables.New()
	if err != nil {
		return 0, 0, err
	}
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		missing := len(want)
		sets, err := conn.GetSets(&nftables.Table{Family: nftables.TableFamilyINet, Name: "riposte"})
		if err != nil {
			return 0, 0, fmt.Errorf("read the sets: %w", err)
		}
		found := map[netip.Addr]bool{}
		for _, s := range sets {
			es, err := conn.GetSetElements(s)
			if err != nil {
				continue // changed while it was read: the next round sees it
			}
			for _, e := range es {
				if a, ok := netip.AddrFromSlice(e.Key); ok && want[a] {
					found[a] = true
				}
			}
		}
		missing -= len(found)
		if missing == 0 || limit.Err() != nil {
			return time.Since(start), missing, nil
		}
		time.Sleep(5 * time.Millisecond)
	}
}
