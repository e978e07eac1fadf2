//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// A host is a real riposte agent in a network namespace of its own, with kernel
// tables of its own, joined to the server by a pair of virtual interfaces.

// task is what the helper process within the namespace is told.
type task struct {
	Op      string        `json:"op"` // up, join, run, when
	Bin     string        `json:"bin,omitempty"`
	Dir     string        `json:"dir,omitempty"`
	Device  string        `json:"device,omitempty"`
	Address string        `json:"address,omitempty"`
	Token   string        `json:"token,omitempty"`
	Target  string        `json:"target,omitempty"`
	Within  time.Duration `json:"within,omitempty"`
}

// outcome is what it answers.
type outcome struct {
	Error string `json:"error,omitempty"`
	At    int64  `json:"at,omitempty"` // when the kernel told of the element, Unix nanoseconds
}

// inside is the state of the helper process.
type inside struct {
	agent *exec.Cmd

	mu   sync.Mutex
	seen map[netip.Addr]int64
	more chan struct{} // closed and renewed when seen grows
}

func runHost(in io.Reader, out io.Writer) error {
	h := &inside{seen: map[netip.Addr]int64{}, more: make(chan struct{})}
	defer func() {
		if h.agent != nil {
			_ = h.agent.Process.Signal(syscall.SIGTERM) // it has ended already
			_ = h.agent.Wait()
		}
	}()
	lines, enc := bufio.NewReader(in), json.NewEncoder(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var t task
		var o outcome
		if err := json.Unmarshal(line, &t); err != nil {
			return err
		}
		if o.At, err = h.do(&t); err != nil {
			o.Error = err.Error()
		}
		if err := enc.Encode(o); err != nil {
			return err
		}
	}
}

func (h *inside) do(t *task) (at int64, err error) {
	switch t.Op {
	case "up":
		return 0, h.up(t)
	case "join":
		out, err := exec.Command(t.Bin, "agent", "join", t.Token, "--settings", filepath.Join(t.Dir, "riposte.yaml")).CombinedOutput()
		if err != nil {
			return 0, fmt.Errorf("riposte agent join: %w: %s", err, out)
		}
	case "run":
		return 0, h.run(t)
	case "when":
		return h.when(t)
	}
	return 0, nil
}

// up sets up the interfaces and listens to the kernel's tables.
func (h *inside) up(t *task) error {
	for _, name := range []string{"lo", t.Device} {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err == nil && name == t.Device {
			var a *netlink.Addr
			if a, err = netlink.ParseAddr(t.Address); err == nil {
				err = netlink.AddrAdd(l, a)
			}
		}
		if err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
	}
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	events, err := conn.AddMonitor(nftables.NewMonitor(nftables.WithMonitorEventBuffer(1<<16),
		nftables.WithMonitorAction(nftables.MonitorActionNew), nftables.WithMonitorObject(nftables.MonitorObjectElements)))
	if err != nil {
		return err
	}
	go func() { // as long as the process
		for ev := range events {
			h.note(ev, time.Now())
		}
	}()
	return nil
}

func (h *inside) note(ev *nftables.MonitorEvent, now time.Time) {
	if ev == nil || ev.Error != nil {
		return
	}
	es, _ := ev.Data.([]nftables.SetElement)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range es {
		if a, ok := netip.AddrFromSlice(e.Key); ok && h.seen[a] == 0 {
			h.seen[a] = now.UnixNano()
		}
	}
	close(h.more)
	h.more = make(chan struct{})
}

func (h *inside) run(t *task) error {
	out, err := os.Create(filepath.Join(t.Dir, "out"))
	if err != nil {
		return err
	}
	defer out.Close()
	h.agent = exec.Command(t.Bin, "agent", "--settings", filepath.Join(t.Dir, "riposte.yaml"))
	h.agent.Stdout, h.agent.Stderr = out, out
	h.agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return h.agent.Start()
}

// when waits until an address is in a set.
func (h *inside) when(t *task) (int64, error) {
	target, err := netip.ParseAddr(t.Target)
	if err != nil {
		return 0, err
	}
	limit := time.After(t.Within)
	for {
		h.mu.Lock()
		at, more := h.seen[target], h.more
		h.mu.Unlock()
		if at != 0 {
			return at, nil
		}
		select {
		case <-more:
		case <-limit:
			return 0, fmt.Errorf("%s is not blocked after %v", target, t.Within)
		}
	}
}

// host is the same from outside.
type host struct {
	name, dir string
	*process
}

// newHost makes a namespace with a way to the server, which gets the address
// 10.99.n.1 there; the host is 10.99.n.2.
func newHost(bin, dir, name string, n int) (*host, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := install(dir, ""); err != nil {
		return nil, err
	}
	p, err := helper("host", syscall.CLONE_NEWNET)
	if err != nil {
		return nil, err
	}
	h := &host{name: name, dir: dir, process: p}
	here, there := fmt.Sprintf("bf%d", n), fmt.Sprintf("bf%dh", n)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: here}, PeerName: there, PeerNamespace: netlink.NsPid(p.cmd.Process.Pid)}
	if err := netlink.LinkAdd(veth); err != nil {
		return h, fmt.Errorf("make interface %s: %w", here, err)
	}
	l, err := netlink.LinkByName(here)
	if err == nil {
		var a *netlink.Addr
		if a, err = netlink.ParseAddr(fmt.Sprintf("10.99.%d.1/24", n)); err == nil {
			err = netlink.AddrAdd(l, a)
		}
	}
	if err == nil {
		err = netlink.LinkSetUp(l)
	}
	if err != nil {
		return h, fmt.Errorf("interface %s: %w", here, err)
	}
	return h, h.tell(task{Op: "up", Device: there, Address: fmt.Sprintf("10.99.%d.2/24", n)})
}

func (h *host) tell(t task) error {
	_, err := h.ask(t)
	return err
}

func (h *host) ask(t task) (time.Time, error) {
	var o outcome
	if err := h.call(t, &o); err != nil {
		return time.Time{}, err
	}
	if o.Error != "" {
		b, _ := os.ReadFile(filepath.Join(h.dir, "out")) // it explains the error
		return time.Time{}, fmt.Errorf("host %s: %s\n%s", h.name, o.Error, b[max(0, len(b)-1000):])
	}
	return time.Unix(0, o.At), nil
}

// blocked waits until the host's kernel blocks an address.
func (h *host) blocked(a netip.Addr, within time.Duration) (time.Time, error) {
	return h.ask(task{Op: "when", Target: a.String(), Within: within})
}

// attack writes a failed login into the host's log, and returns when.
func (h *host) attack(line string) (time.Time, error) {
	return appendTo(filepath.Join(h.dir, "auth.log"), line)
}

func appendTo(path, line string) (time.Time, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close()
	now := time.Now()
	_, err = f.WriteString(line)
	return now, err
}

// connected waits until the server sees the hosts.
func connected(ctx context.Context, s *server, names ...string) error {
	for {
		list, err := s.client.Agents(ctx)
		if err != nil {
			return err
		}
		n := 0
		for _, a := range list {
			for _, name := range names {
				if a.Name == name && a.State == "connected" && a.Bundle > 0 {
					n++
				}
			}
		}
		if n == len(names) {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s are not connected: %w", strings.Join(names, ", "), ctx.Err())
		}
	}
}
