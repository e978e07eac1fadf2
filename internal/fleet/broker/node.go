package broker

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"riposte/internal/fleet/identity"
	"riposte/internal/host"
)

// nodeLife is how long the certificate of a node lasts that riposte does not run
// and cannot renew by itself.
const nodeLife = 5 * 365 * 24 * time.Hour

// The files of a node.
const (
	confFile = "nats.conf"
	certFile = "node.crt"
	keyFile  = "node.key"
	caFile   = "ca.crt"
)

// ExternalOptions describe one node of an external cluster.
type ExternalOptions struct {
	Name     string // of the node, unique in the cluster
	Listen   string // host:port for servers and agents
	StoreDir string // of streams and claims
	MaxStore int64  // bytes of streams on disk; 0 for what nats-server chooses

	// Dir is where the files that WriteNode makes will lie on the node's machine.
	Dir string

	// Cluster is the name of the cluster, ClusterListen where this node hears the
	// others, Routes where it finds them, as host:port. All are left out for a
	// single node.
	Cluster       string
	ClusterListen string
	Routes        []string
}

// Config writes the nats.conf with which a node of an external cluster serves
// the fleet as the embedded broker does. It holds no private key. A node that
// starts with it knows of no revoked key until its cluster or a server tells it;
// what servers told the cluster stays in force.
func Config(a *identity.Authority, o ExternalOptions) (string, error) {
	if err := o.check(); err != nil {
		return "", fmt.Errorf("write a node's configuration: %w", err)
	}
	claims, err := a.NodeJWT()
	if err != nil {
		return "", err
	}
	system, systemClaims := a.SystemAccount()
	servers, serverClaims := a.FleetAccount()
	var b strings.Builder
	p := func(format string, v ...any) { fmt.Fprintf(&b, format+"\n", v...) }
	tls := func(indent, more string) {
		p(`%stls {`, indent)
		p(`%s  cert_file: %s`, indent, quote(filepath.Join(o.Dir, certFile)))
		p(`%s  key_file: %s`, indent, quote(filepath.Join(o.Dir, keyFile)))
		p(`%s  min_version: "1.3"`, indent)
		p(`%s  timeout: %d`, indent, int(defaultHandshake.Seconds()))
		p(`%s  %s`, indent, more)
		p(`%s}`, indent)
	}
	p("# A broker of a riposte fleet. Written by riposte; to be started as \"nats-server -c\" this file.")
	p("server_name: %s", quote(o.Name))
	p("listen: %s", quote(o.Listen))
	p("")
	tls("", "handshake_first: true")
	p("authorization { timeout: %d }", int(defaultHandshake.Seconds()))
	p("max_payload: %d", identity.MaxServerPayload)
	p("max_pending: %d", maxPending)
	p("ping_interval: \"%ds\"", int(pingInterval.Seconds()))
	p("ping_max: %d", maxPings)
	p("")
	p("operator: %s", a.OperatorJWT())
	p("system_account: %s", system)
	p("resolver {")
	p("  type: full")
	p("  dir: %s", quote(filepath.Join(o.StoreDir, "claims")))
	p("  allow_delete: false")
	p("  interval: \"%ds\"", int(claimsSync.Seconds()))
	p("}")
	p("resolver_preload {")
	p("  %s: %s", system, systemClaims)
	p("  %s: %s", servers, serverClaims)
	p("  %s: %s", a.Account(), claims)
	p("}")
	p("")
	p("jetstream {")
	p("  store_dir: %s", quote(filepath.Join(o.StoreDir, "streams")))
	p("  sync_interval: \"%ds\"", int(syncInterval.Seconds()))
	if o.MaxStore > 0 {
		p("  max_file_store: %d", o.MaxStore)
	}
	p("}")
	if o.Cluster != "" {
		p("")
		p("cluster {")
		p("  name: %s", quote(o.Cluster))
		p("  listen: %s", quote(o.ClusterListen))
		// The nodes prove themselves to each other with their certificates.
		tls("  ", "verify: true\n    ca_file: "+quote(filepath.Join(o.Dir, caFile)))
		routes := make([]string, len(o.Routes))
		for i, r := range o.Routes {
			routes[i] = quote("nats-route://" + r)
		}
		p("  routes: [%s]", strings.Join(routes, ", "))
		p("}")
	}
	return b.String(), nil
}

func (o ExternalOptions) check() error {
	if o.Name == "" || strings.ContainsAny(o.Name, " \t\r\n.*>") {
		return fmt.Errorf("the name %q: expected one word without dots", o.Name)
	}
	if o.StoreDir == "" || o.Dir == "" {
		return fmt.Errorf("node %s: expected a directory for its streams and one for its certificate", o.Name)
	}
	addresses := []string{o.Listen}
	if o.Cluster != "" {
		addresses = append(append(addresses, o.ClusterListen), o.Routes...)
	}
	for _, a := range addresses {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("node %s: %q: expected host:port: %w", o.Name, a, err)
		}
	}
	return nil
}

// WriteNode makes all that a node needs in the directory dir, to be carried to
// ExternalOptions.Dir on its machine: nats.conf, a certificate under these names,
// good for five years, with its key, and the authority's certificate. It returns
// the path of nats.conf. Nothing in it lets anybody into the fleet. Calling it
// again renews the certificate.
func WriteNode(a *identity.Authority, dir string, names []string, o ExternalOptions) (string, error) {
	if err := host.PrivateDir(dir); err != nil {
		return "", fmt.Errorf("write a node's files: %w", err)
	}
	conf, err := Config(a, o)
	if err != nil {
		return "", err
	}
	chain, key, err := a.Certificate(names, nodeLife)
	if err != nil {
		return "", err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{keyFile, key}, {certFile, chain}, {caFile, a.CAPEM()}, {confFile, []byte(conf)}} {
		if err := host.ReplaceFile(filepath.Join(dir, f.name), f.data, 0o600); err != nil {
			return "", fmt.Errorf("write a node's files: %w", err)
		}
	}
	return filepath.Join(dir, confFile), nil
}

// quote writes a string of nats.conf.
func quote(s string) string { return strconv.Quote(s) }
