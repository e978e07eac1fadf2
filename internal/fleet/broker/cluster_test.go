package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
	"riposte/internal/lab"
)

// natsServer is the real nats-server of the module that is linked in, built when
// it is not there yet.
func natsServer(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped with -short: three nats-server processes")
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "build", "tools", "nats-server")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "github.com/nats-io/nats-server/v2")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("nats-server cannot be built from the module: %v\n%s", err, out)
	}
	return path
}

// ports reserves n ports of 127.0.0.1.
func ports(t *testing.T, n int) []string {
	t.Helper()
	out := make([]string, n)
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all at the end, so that they differ
		out[i] = l.Addr().String()
	}
	return out
}

// node is a nats-server process.
type node struct {
	path, conf string
	log        string
	cmd        *exec.Cmd
}

func (n *node) start(t *testing.T) {
	t.Helper()
	out, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	n.cmd = exec.Command(n.path, "-c", n.conf)
	n.cmd.Stdout, n.cmd.Stderr = out, out
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (n *node) kill() {
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(syscall.SIGKILL)
		_ = n.cmd.Wait()
		n.cmd = nil
	}
}

// cluster is a place of three nodes with the configuration that riposte writes.
func cluster(t *testing.T) (*place, []*node) {
	t.Helper()
	path := natsServer(t)
	a := newAuthority(t)
	at := ports(t, 6)
	p := &place{authority: a, replicas: 3}
	nodes := make([]*node, 3)
	for i := range nodes {
		dir := filepath.Join(t.TempDir(), fmt.Sprintf("node%d", i))
		conf, err := WriteNode(a, dir, nil, ExternalOptions{
			Name: fmt.Sprintf("node%d", i), Listen: at[i], Dir: dir, StoreDir: filepath.Join(dir, "store"), MaxStore: 1 << 30,
			Cluster: "riposte", ClusterListen: at[3+i], Routes: at[3:],
		})
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(path, "-c", conf, "-t").CombinedOutput(); err != nil {
			t.Fatalf("nats-server does not read its configuration: %v\n%s", err, out)
		}
		nodes[i] = &node{path: path, conf: conf, log: filepath.Join(dir, "log")}
		p.urls = append(p.urls, "tls://"+at[i])
	}
	t.Cleanup(func() {
		for _, n := range nodes {
			n.kill()
			if t.Failed() {
				b, _ := os.ReadFile(n.log)
				t.Logf("%s\n%s", n.log, b[max(0, len(b)-4000):])
			}
		}
	})
	for _, n := range nodes {
		n.start(t)
	}
	for _, url := range p.urls {
		lab.Until(t, url, func() bool {
			conn, err := net.Dial("tcp", address(url))
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
	}
	p.serve(t)
	return p, nodes
}

// TestCluster runs the same against three real nats-servers, started with no
// other configuration than what Config writes.
func TestCluster(t *testing.T) {
	p, nodes := cluster(t)
	for name, test := range suite() {
		if name == "answers" {
			continue // counts what is in the streams: below
		}
		t.Run(name, func(t *testing.T) { test(t, p) })
	}
	t.Run("the roster", func(t *testing.T) { testRoster(t, p) })
	t.Run("a node that is killed", func(t *testing.T) {
		roster, err := identity.NewRoster(t.Context(), p.js, p.replicas, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		// The agents are removed within one second, one before the node dies and one
		// after: what the node knows and what it misses have the same time.
		agents := []*identity.Credentials{p.agent(t, "003"), p.agent(t, "004")}
		recs := make([]identity.Record, len(agents))
		for i, c := range agents {
			if recs[i], err = roster.Add(t.Context(), fmt.Sprintf("agent-%d", i), nil, must(t)(c.PublicKey())); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var enforcing sync.WaitGroup
		enforcing.Go(func() {
			for ctx.Err() == nil { // as a server does
				if err := roster.Enforce(ctx, p.authority, p.system); err != nil {
					time.Sleep(50 * time.Millisecond)
				}
			}
		})
		defer enforcing.Wait()
		defer cancel()
		out := func(c *identity.Credentials, url string) func() bool {
			return func() bool {
				one := *c
				one.URLs = []string{url}
				nc, err := nats.Connect(url, append(one.Options(), nats.NoReconnect(), nats.Timeout(time.Second))...)
				if err == nil {
					nc.Close()
				}
				return errors.Is(err, nats.ErrAuthorization)
			}
		}
		if _, err := roster.Remove(t.Context(), recs[0].ID); err != nil {
			t.Fatal(err)
		}
		for _, url := range p.urls {
			lab.Until(t, "the first agent to be out", out(agents[0], url))
		}
		js := p.js
		kv, err := js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "x", Replicas: 3})
		if err != nil {
			t.Fatal(err)
		}
		nodes[0].kill()
		// The two others serve.
		lab.Until(t, "a write", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := kv.Put(ctx, "x", []byte("y"))
			return err == nil
		})
		// What is revoked meanwhile, the node learns when it is back.
		lab.Until(t, "the removal", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := roster.Remove(ctx, recs[1].ID)
			return err == nil || errors.Is(err, identity.ErrNoAgent)
		})
		lab.Until(t, "the second agent to be out", out(agents[1], p.urls[1]))
		nodes[0].start(t)
		lab.Until(t, "the node that was away to know", out(agents[1], p.urls[0]))
		// A node with a configuration that is newer than all removals, and knows none.
		nodes[0].kill()
		dir := filepath.Dir(nodes[0].conf)
		conf, err := os.ReadFile(nodes[0].conf)
		if err != nil {
			t.Fatal(err)
		}
		forgetful, err := p.authority.AccountJWT(nil)
		if err != nil {
			t.Fatal(err)
		}
		old := string(conf)[strings.Index(string(conf), p.authority.Account()+": ")+len(p.authority.Account())+2:]
		old, _, _ = strings.Cut(old, "\n")
		if err := os.WriteFile(filepath.Join(dir, confFile), []byte(strings.Replace(string(conf), old, forgetful, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		nodes[0].start(t)
		for _, url := range p.urls {
			lab.Until(t, "all nodes to know again", func() bool { return out(agents[0], url)() && out(agents[1], url)() })
		}
	})
}

// testRoster has two servers enrol at once, each with a roster of its own, and
// hosts race for one token.
func testRoster(t *testing.T, p *place) {
	var all sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]int{}
	rosters := make([]*identity.Roster, 2)
	tokens, err := identity.NewTokens(t.Context(), p.js, p.replicas)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rosters {
		if rosters[i], err = identity.NewRoster(t.Context(), p.js, p.replicas, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	text, _, err := tokens.Issue(t.Context(), p.authority, rosters[0], identity.IssueOptions{Name: "the-one", For: time.Hour, URLs: p.urls})
	if err != nil {
		t.Fatal(err)
	}
	token, err := identity.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	won := 0
	for i, r := range rosters {
		all.Go(func() {
			for n := range 10 {
				_, key, err := identity.NewKey()
				if err != nil {
					t.Error(err)
					return
				}
				rec, err := r.Add(t.Context(), fmt.Sprintf("host-%d-%d", i, n), nil, key)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				ids[rec.ID]++
				mu.Unlock()
			}
			_, key, err := identity.NewKey()
			if err != nil {
				t.Error(err)
				return
			}
			proof, err := token.Proof(key)
			if err != nil {
				t.Error(err)
				return
			}
			switch _, _, err := tokens.Redeem(t.Context(), r, proof, key); {
			case err == nil:
				mu.Lock()
				won++
				mu.Unlock()
			case !errors.Is(err, identity.ErrTokenUsed):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(ids) != 20 || won != 1 {
		t.Errorf("%d ids for 20 agents, %d joined with one token", len(ids), won)
	}
}

func TestClusterAnswers(t *testing.T) {
	p, _ := cluster(t)
	testDeputy(t, p)
	t.Run("every server hears who is there", func(t *testing.T) {
		user, err := p.authority.ServerOptions()
		if err != nil {
			t.Fatal(err)
		}
		heard := make([]chan *nats.Msg, len(p.urls))
		for i, url := range p.urls {
			heard[i] = make(chan *nats.Msg, 4096)
			server := dial(t, url, user...)
			if _, err := server.ChanSubscribe(fleet.PresenceSubject("*"), heard[i]); err != nil {
				t.Fatal(err)
			}
			if err := server.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		agent := p.connect(t, p.agent(t, "003").Options())
		lab.Until(t, "all to hear", func() bool {
			if err := agent.Publish(fleet.PresenceSubject("003"), nil); err != nil {
				t.Fatal(err)
			}
			return !slices.ContainsFunc(heard, func(c chan *nats.Msg) bool { return len(c) == 0 })
		})
	})
}

// A configuration that is written after removals, which it does not know of, gives
// way to what servers told the brokers before.
func TestNodeConfigurationRevokesNothingBack(t *testing.T) {
	a := newAuthority(t)
	text, err := Config(a, ExternalOptions{Name: "n1", Listen: "0.0.0.0:4222", Dir: "/etc/nats", StoreDir: "/var/lib/nats"})
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(text, a.Account()+": ")
	preload, _, _ := strings.Cut(rest, "\n")
	_, removed, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	told, err := a.AccountJWT([]string{removed})
	if err != nil {
		t.Fatal(err)
	}
	for _, order := range [][]string{{told, preload}, {preload, told}} {
		r, err := natsserver.NewDirAccResolver(t.TempDir(), 0, time.Minute, natsserver.NoDelete)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for _, claims := range order {
			if err := r.Store(a.Account(), claims); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := r.LoadAcc(a.Account()); err != nil || got != told {
			t.Errorf("the broker does not go by what it was told: %v", err)
		}
	}
	// Alone it is as good as any other.
	claims, err := jwt.DecodeAccountClaims(preload)
	if err != nil {
		t.Fatal(err)
	}
	if len(claims.SigningKeys) != 2 || len(claims.Revocations) != 0 || claims.IssuedAt != 1 {
		t.Errorf("%+v", claims)
	}
}

func TestNodeConfigurationIsJudged(t *testing.T) {
	a := newAuthority(t)
	good := ExternalOptions{Name: "n1", Listen: "0.0.0.0:4222", Dir: "/etc/nats", StoreDir: "/var/lib/nats", Cluster: "c", ClusterListen: "0.0.0.0:6222", Routes: []string{"b:6222"}}
	text, err := Config(a, good)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`min_version: "1.3"`, "handshake_first: true", `cert_file: "/etc/nats/node.crt"`, "type: full", "verify: true", a.Account()} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in it", want)
		}
	}
	for _, secret := range []string{"SO", "SA", "SU"} { // how the seeds of nkeys begin
		for field := range strings.FieldsSeq(text) {
			if strings.HasPrefix(field, secret) && len(field) > 50 {
				t.Errorf("a private key is in it: %s…", field[:6])
			}
		}
	}
	for name, spoil := range map[string]func(*ExternalOptions){
		"one word":     func(o *ExternalOptions) { o.Name = "a b" },
		"host:port":    func(o *ExternalOptions) { o.Listen = "4222" },
		`"b": expecte`: func(o *ExternalOptions) { o.Routes = []string{"b"} },
		"directory":    func(o *ExternalOptions) { o.Dir = "" },
	} {
		bad := good
		spoil(&bad)
		if _, err := Config(a, bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, expected %q in it", err, name)
		}
	}
}
