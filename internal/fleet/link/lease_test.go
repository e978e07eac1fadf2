package link

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestLeadOne: of two servers one leads; when it dies the other does, within the
// time that is promised; when it stops, at once.
func TestLeadOne(t *testing.T) {
	b := newBed(t)
	one, two := b.server("one"), b.server("two")
	one.candidate(nil)
	until(t, "one leads", one.Leads)
	two.candidate(nil)

	died := time.Now()
	one.end() // its connections are gone: it can neither renew nor release
	if one.Leads() {
		t.Error("a server that is gone says that it leads")
	}
	until(t, "two leads", two.Leads)
	took := time.Since(died)
	t.Logf("led %v after the leader had died", took.Round(time.Millisecond))
	if took < takeOver-renewEvery-100*time.Millisecond {
		t.Errorf("led after %v: the other might have been alive", took)
	}

	three := b.server("three")
	three.candidate(nil)
	two.leaving()
	if err := <-two.led; err != nil {
		t.Error(err)
	}
	two.led = nil
	until(t, "three leads", three.Leads)
}

// TestLeadUntilDone: who is asked to stop leads until what it has begun is done.
func TestLeadUntilDone(t *testing.T) {
	// That a lease can be renewed in time is not what is tested. On a machine that
	// stood still for longer than it lasts another server leads, as it should, and
	// the test begins again.
	const tries = 10
	for try := range tries {
		var stalled error
		t.Run(fmt.Sprint(try), func(t *testing.T) { stalled = leadUntilDone(t) })
		if stalled == nil {
			return
		}
		t.Logf("try %d: %v", try, stalled)
	}
	t.Errorf("of %d leaders that were asked to stop none could renew its lease until it was done", tries)
}

// leadUntilDone returns an error when the leader that is asked to stop lost its
// lease before it was done.
func leadUntilDone(t *testing.T) error {
	b := newBed(t)
	one, two := b.server("one"), b.server("two")
	proceed := make(chan struct{})
	issued := make(chan error, 1)
	one.candidate(func(ctx context.Context) error {
		<-ctx.Done()
		<-proceed
		if !one.holds() {
			issued <- ErrDeposed
			return nil
		}
		limited, stop := context.WithTimeout(t.Context(), takeOver)
		defer stop()
		issued <- one.Issue(limited, orderIDs(0, 3))
		return nil
	})
	until(t, "one leads", one.Leads)
	two.candidate(nil)
	one.leaving()
	for deadline := time.Now().Add(2 * takeOver); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if two.Leads() && one.Leads() {
			close(proceed)
			t.Fatal("two lead at once")
		}
	}
	close(proceed)
	err := <-issued
	until(t, "two leads", two.Leads)
	if err != nil {
		return err
	}
	if n := len(two.wholeLog()); n != 3 {
		t.Errorf("%d orders, want 3", n)
	}
	return nil
}

// TestLeaseTaken: a leader whose lease another took, though it lives, stops, is
// told why, and stands by.
func TestLeaseTaken(t *testing.T) {
	b := newBed(t)
	one := b.server("one")
	cause := make(chan error, 2)
	one.candidate(func(ctx context.Context) error {
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return nil
	})
	until(t, "one leads", one.Leads)
	if _, err := one.state.Put(t.Context(), leaseKey, encode(lease{Server: "two", Since: time.Now()})); err != nil {
		t.Fatal(err)
	}
	if err := <-cause; !errors.Is(err, ErrDeposed) {
		t.Errorf("ended because of %v, want ErrDeposed", err)
	}
	until(t, "one leads again: two does not move", one.Leads)
}

// TestLeaseOwn: a lease that nobody took is had again without waiting.
func TestLeaseOwn(t *testing.T) {
	b := newBed(t)
	s := b.server("one")
	var mine lease
	if _, err := s.acquire(t.Context(), &mine); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	if _, err := s.acquire(t.Context(), &mine); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(before); took > takeOver {
		t.Errorf("took %v", took)
	}
	// An answer that was lost: the lease is newer than the server knows.
	rev, err := s.renew(t.Context(), &mine, 1)
	if err != nil {
		t.Fatalf("its own lease counts as another's: %v", err)
	}
	if _, err := s.renew(t.Context(), &mine, rev); err != nil {
		t.Error(err)
	}
	other := lease{Server: "two", Since: time.Now()}
	if _, err := s.renew(t.Context(), &other, 1); !errors.Is(err, ErrDeposed) {
		t.Errorf("another's lease: %v, want ErrDeposed", err)
	}
}

// TestHolds: a process that was stopped for longer than the lease lasts does not
// believe that it leads until it has renewed it.
func TestHolds(t *testing.T) {
	s := &Server{start: time.Now().Add(-time.Hour)}
	s.leading.Store(true)
	for _, x := range []struct {
		sent time.Duration // ago
		want bool
	}{{0, true}, {takeOver / 2, true}, {takeOver + time.Millisecond, false}} {
		s.hold(time.Now().Add(-x.sent))
		if got := s.holds(); got != x.want {
			t.Errorf("renewed %v ago: %v, want %v", x.sent, got, x.want)
		}
	}
	s.o.Alone = true
	if !s.holds() {
		t.Error("nobody else can lead")
	}
}

// TestNotices: whichever server enrols an agent, the leading one is told.
func TestNotices(t *testing.T) {
	b := newBed(t)
	one, two := b.server("one"), b.server("two")
	one.candidate(nil)
	until(t, "one leads", one.Leads)
	two.tell(Notice{Kind: Joined, Agent: "001", Name: "web", Words: "joined"})
	two.tell(Notice{Kind: Silent, Agent: "001", Words: "both see that"})
	if n := <-one.told; n.Kind != Joined || n.Agent != "001" || n.Name != "web" {
		t.Errorf("told %+v", n)
	}
	if len(two.told) != 0 || len(one.told) != 0 {
		t.Error("more was told")
	}
}

// TestStreamsLeftAlone: a server that starts changes nothing that is as it
// should be.
func TestStreamsLeftAlone(t *testing.T) {
	b := newBed(t)
	one := b.server("one")
	updates, err := one.nc.SubscribeSync("$JS.API.STREAM.UPDATE.*")
	if err != nil {
		t.Fatal(err)
	}
	b.server("two")
	if err := one.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if m, err := updates.NextMsg(10 * time.Millisecond); err == nil {
		t.Errorf("%s is changed: %s", m.Subject, m.Data)
	}
	b.server("three", func(o *ServerOptions) { o.MaxEvents = 2 << 30 })
	if m, err := updates.NextMsg(time.Second); err != nil || m.Subject != "$JS.API.STREAM.UPDATE.EVENTS" {
		t.Errorf("other settings change nothing: %v", err)
	}
}
