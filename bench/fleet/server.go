//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"riposte/bench/rig"
	"riposte/internal/api"
	"riposte/internal/fleet/identity"
)

// server is a riposte server with its embedded broker, in files of its own.
type server struct {
	bin, dir string
	client   *api.Client
	cmd      *exec.Cmd
	done     chan struct{} // closed when the process has ended
	ledger   *sql.DB       // to look at
}

// usualStore is megabytes of events that the broker stores, so that a disk with
// some gigabytes to spare will do.
const usualStore = 1024

// newServer makes the files of a server that has every host block whoever fails
// to log in with a name that exists.
func newServer(bin, dir string, names []string) (*server, error) {
	s := &server{bin: bin, dir: dir, client: api.NewClient(filepath.Join(dir, "riposte.sock"))}
	if err := s.configure(names, usualStore); err != nil {
		return nil, err
	}
	if out, err := exec.Command(bin, "server", "init", "--settings", s.settings()).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("riposte server init: %w: %s", err, out)
	}
	return s, nil
}

func (s *server) settings() string { return filepath.Join(s.dir, "riposte.yaml") }
func (s *server) log() string      { return filepath.Join(s.dir, "auth.log") }

// configure writes the settings; store is megabytes of events in the broker.
func (s *server) configure(names []string, store int) error {
	fleet := fmt.Sprintf("fleet: {listen: \"0.0.0.0:4222\", store_mb: %d, names: [%s]}\n", store, strings.Join(names, ", "))
	return install(s.dir, fleet)
}

// install writes the files of one riposte, server or agent.
func install(dir, more string) error {
	conf := fmt.Sprintf(`<ossec_config>
  <command><name>answer</name><executable>firewall-drop</executable><expect>srcip</expect><timeout_allowed>yes</timeout_allowed></command>
  <active-response><command>answer</command><location>all</location><rules_id>5716,5760</rules_id><timeout>3600</timeout></active-response>
  <localfile><log_format>syslog</log_format><location>%s/auth.log</location></localfile>
</ossec_config>
`, dir)
	settings := fmt.Sprintf("ossec_conf: %[1]s/ossec.conf\nstate_dir: %[1]s/state\nlog_dir: %[1]s/log\nsocket: %[1]s/riposte.sock\n"+
		"active_response_bin: %[1]s/bin\nfirewall: nftables\nguard: {breaker: {targets: 0}}\n%[2]s", dir, more)
	for name, text := range map[string]string{"auth.log": "", "ossec.conf": conf, "riposte.yaml": settings} {
		if name == "auth.log" {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				continue
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// start starts the server and waits until it leads and answers.
func (s *server) start(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	begin := time.Now()
	if err := s.launch(); err != nil {
		return 0, err
	}
	for {
		st, err := s.client.Status(ctx)
		if err == nil && len(st.Fleet) > 1 && strings.HasPrefix(st.Fleet[0], "this server leads") {
			return time.Since(begin), nil
		}
		select {
		case <-s.done:
			return 0, fmt.Errorf("the server did not start:\n%s", s.output())
		case <-ctx.Done():
			return 0, fmt.Errorf("the server does not lead: %w\n%s", ctx.Err(), s.output())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// launch starts the process.
func (s *server) launch() error {
	out, err := os.OpenFile(filepath.Join(s.dir, "out"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	s.cmd = exec.Command(s.bin, "server", "--settings", s.settings())
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.done = make(chan struct{})
	go func() {
		_ = s.cmd.Wait() // how it ended stands in its output
		close(s.done)
	}()
	return nil
}

// output is the end of what the server has printed.
func (s *server) output() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "out")) // it explains another error
	return string(b[max(0, len(b)-2000):])
}

func (s *server) stop(sig syscall.Signal) {
	_ = s.cmd.Process.Signal(sig) // it has ended already
	<-s.done
}

func (s *server) usage() (rig.Usage, error) { return rig.UsageOf(s.cmd.Process.Pid) }

// authority opens the keys of the fleet, as root on the server may.
func (s *server) authority() (*identity.Authority, error) {
	return identity.Open(filepath.Join(s.dir, "state", "fleet"))
}

// receipts is how many receipts were ever put into the ledger: they are numbered.
func (s *server) receipts(ctx context.Context) (n int, err error) {
	if s.ledger == nil {
		path := filepath.Join(s.dir, "state", "fleet", "fleet.db")
		if s.ledger, err = sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(5000)"); err != nil {
			return 0, err
		}
	}
	err = s.ledger.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM receipts").Scan(&n)
	return n, err
}

// answered counts the hosts whose answer to the order about a target is in the
// ledger, and how many answers there are of each host at most.
func (s *server) answered(ctx context.Context, target string) (hosts, most int, err error) {
	err = s.ledger.QueryRowContext(ctx, `SELECT count(*), coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM receipts r JOIN causes c ON c.id = r.cause
		WHERE c.target LIKE '% ' || ? GROUP BY r.host)`, target).Scan(&hosts, &most)
	return hosts, most, err
}
