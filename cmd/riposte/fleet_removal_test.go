//go:build linux

package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"riposte/internal/api"
	"riposte/internal/fleet/identity"
)

// fleetDir is where a station keeps its credentials.
func (st *station) fleetDir() string { return st.path("state/fleet") }

// credentials are those that a station has now.
func (st *station) credentials() *identity.Credentials {
	st.t.Helper()
	c, err := identity.LoadCredentials(st.fleetDir())
	if err != nil {
		st.t.Fatal(err)
	}
	return c
}

// admitted connects from the attacker's machine with credentials, and returns why
// the broker refuses.
func (r *region) admitted(c *identity.Credentials) error {
	r.t.Helper()
	return r.attacker.Do(func() error {
		nc, err := nats.Connect(strings.Join(c.URLs, ","), append(c.Options(), nats.NoReconnect(), nats.Timeout(20*time.Second))...)
		if err != nil {
			return err
		}
		defer nc.Close()
		return nc.FlushTimeout(20 * time.Second)
	})
}

// alerted waits until the server has an alert about a text.
func (r *region) alerted(text string) {
	r.t.Helper()
	eventually(r.t, long, "an alert about "+text, func() bool { return strings.Contains(r.server.read("log/alerts.json"), text) })
}

// TestFleetRemoval: who may take part is decided by the server, at any time, and
// at once.
func TestFleetRemoval(t *testing.T) {
	r := newRegion(t, 2, twoTimes(600), "")
	gone, stays := r.agents[0], r.agents[1]

	// A token is good once.
	{
		token := r.token("web-03")
		thief := r.newStation("", "thief", "", "")
		third := r.newStation("003", "web-03", "", "")
		if out := third.run("agent", "join", token); !strings.Contains(out, "003") {
			t.Errorf("join says %q", out)
		}
		out, err := thief.try("agent", "join", token)
		if err == nil || !strings.Contains(out, "refuse") {
			t.Errorf("the token was good twice: %v, %s", err, out)
		}
		if c, err := identity.LoadCredentials(thief.fleetDir()); err == nil {
			t.Errorf("the thief is agent %s", c.ID)
		}
		eventually(t, long, "the server says that a token was used twice", func() bool {
			s := r.server.screen()
			return strings.Contains(s, "an enrolment is refused") && strings.Contains(s, "host=thief")
		})
		list, err := r.server.client().Agents(t.Context())
		if err != nil || len(list) != 3 {
			t.Errorf("the agents are %+v, %v", list, err)
		}
		if out := r.server.run("agents", "tokens"); !strings.Contains(out, "used by agent 003") || !strings.Contains(out, "somebody else has tried it") {
			t.Errorf("the tokens:\n%s", out)
		}
	}

	// A token that was not used can be taken back.
	{
		out, err := r.server.client().Enrol(t.Context(), api.EnrolRequest{Name: "web-04", For: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if said := r.server.run("agents", "withdraw", out.ID); !strings.Contains(said, "withdrawn") {
			t.Errorf("withdraw says %q", said)
		}
		fourth := r.newStation("", "web-04", "", "")
		if said, err := fourth.try("agent", "join", out.Token); err == nil || !strings.Contains(said, "withdrawn") {
			t.Errorf("a withdrawn token is good: %v, %s", err, said)
		}
		if said, err := r.server.try("agents", "withdraw", "nonsense"); err == nil {
			t.Errorf("a token that is none was withdrawn: %s", said)
		}
	}

	// A new key.
	{
		old := stays.credentials()
		if err := r.admitted(old); err != nil {
			t.Fatalf("the key is not good to begin with: %v", err)
		}
		r.server.run("agents", "rotate", "002")
		eventually(t, long, "the agent has a new key", func() bool { return string(stays.credentials().Seed) != string(old.Seed) })
		eventually(t, long, "the old key is refused", func() bool { return r.admitted(old) != nil })
		stays.sees(failedFrom(addr(1), 2001))
		r.alerted("sshd[2001]")
		stays.holds("firewall-drop", addr(1).String())
		// It is the key that it starts with from then on.
		stays.stop(syscall.SIGTERM)
		stays.start()
		stays.sees(failedFrom(addr(2), 2002))
		stays.holds("firewall-drop", addr(2).String())
	}

	// Removed.
	{
		old := gone.credentials()
		if err := r.admitted(old); err != nil {
			t.Fatalf("the key is not good to begin with: %v", err)
		}
		linked := func() bool {
			s, err := gone.client().Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return strings.Contains(fmt.Sprint(s.Fleet), "connected to "+r.server.addr.String())
		}
		if !linked() {
			t.Fatal("it is not connected to begin with")
		}
		r.server.run("agents", "remove", "web-01")
		began := time.Now()
		// Nothing but a cut is as quick: whoever is silent is noticed after 35 s.
		eventually(t, 10*time.Second, "the connection is cut", func() bool { return !linked() })
		t.Logf("cut after %v", time.Since(began))
		if err := r.admitted(old); err == nil || !strings.Contains(strings.ToLower(err.Error()), "auth") {
			t.Errorf("the old key: %v", err)
		}
		list, err := r.server.client().Agents(t.Context())
		for _, a := range list {
			if a.ID == "001" {
				t.Errorf("it is still listed: %+v", a)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		// The others go on, it hears nothing, and what it sees stays with it.
		gone.sees(failedFrom(addr(3), 2003))
		stays.sees(failedFrom(addr(4), 2004))
		stays.holds("firewall-drop", addr(4).String())
		if strings.Contains(r.server.read("log/alerts.json"), "sshd[2003]") {
			t.Error("what it saw was judged")
		}
		if rs := gone.receipts(addr(4).String()); len(rs) > 0 {
			t.Errorf("it did what the server ordered: %+v", rs)
		}
		if _, err := r.server.client().Remove(t.Context(), api.AgentRequest{Agent: "001"}); err == nil {
			t.Error("it was removed twice")
		}
		// Its name is free again, its id is not.
		again := r.enrol("", "web-01")
		if id := again.credentials().ID; id != "004" {
			t.Errorf("the next agent is %s, want 004", id)
		}
		again.sees(failedFrom(addr(5), 2005))
		again.holds("firewall-drop", addr(5).String())
	}
}
