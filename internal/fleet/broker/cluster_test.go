package broker

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/fleet/identity"
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
		until(t, url, func() bool {
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
	t.Run("a node that is killed", func(t *testing.T) {
		revoked := p.agent(t, "003")
		claims, err := p.authority.AccountJWT(map[string]time.Time{must(t)(revoked.PublicKey()): time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		js := p.js
		kv, err := js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "x", Replicas: 3})
		if err != nil {
			t.Fatal(err)
		}
		nodes[0].kill()
		// The two others serve.
		until(t, "a write", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := kv.Put(ctx, "x", []byte("y"))
			return err == nil
		})
		// What is revoked meanwhile, the node learns when it is back.
		until(t, "the revocation", func() bool {
			_, err := p.system.Request(identity.ClaimsSubject, []byte(claims), 2*time.Second)
			return err == nil
		})
		nodes[0].start(t)
		var last error
		until(t, "the node to refuse the agent", func() bool {
			one := *revoked
			one.URLs = p.urls[:1]
			nc, err := nats.Connect(p.urls[0], append(one.Options(), nats.NoReconnect(), nats.Timeout(time.Second))...)
			if err == nil {
				nc.Close()
			}
			last = err
			return err != nil && strings.Contains(err.Error(), "uthorization")
		})
		if last == nil {
			t.Error("let in")
		}
	})
}

func TestClusterAnswers(t *testing.T) {
	p, _ := cluster(t)
	testDeputy(t, p)
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
