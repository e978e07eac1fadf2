package link

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"riposte"
	"riposte/internal/fleet"
)

// TestIssueAfterTakeOver: what a leader had issued when it died is not issued
// again by the next, which begins with the same orders.
func TestIssueAfterTakeOver(t *testing.T) {
	b := newBed(t)
	one, two := b.server("one"), b.server("two")
	one.candidate(nil)
	until(t, "one leads", one.Leads)
	if err := one.Issue(t.Context(), orderIDs(0, 300)); err != nil {
		t.Fatal(err)
	}
	two.candidate(nil)
	issued := make(chan error, 1)
	go func() { issued <- two.Issue(t.Context(), orderIDs(200, 500)) }() // waits until it leads
	select {
	case err := <-issued:
		t.Fatalf("issued while another leads (%v)", err)
	case <-time.After(50 * time.Millisecond):
	}
	one.end()
	if err := <-issued; err != nil {
		t.Fatal(err)
	}
	ids := two.wholeLog()
	var want []string
	for _, m := range orderIDs(0, 500) {
		want = append(want, m.ID)
	}
	if !slices.Equal(ids, want) {
		t.Errorf("the log holds %d orders, want each of %d once and in order", len(ids), len(want))
	}
}

// TestIssueFenced: of two that both believe to lead, none issues anything twice
// or out of its place, whatever comes in between.
func TestIssueFenced(t *testing.T) {
	b := newBed(t)
	one, two := b.server("one"), b.server("two")
	for _, s := range []*member{one, two} {
		s.leading.Store(true)
		s.hold(time.Now().Add(time.Hour))
	}
	done := make(chan error, 2)
	for _, s := range []*member{one, two} {
		go func() {
			for i := 0; i < 400; i += 40 {
				if err := s.Issue(t.Context(), orderIDs(i, i+40)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	ids := one.wholeLog()
	slices.Sort(ids)
	if len(ids) != 400 || len(slices.Compact(ids)) != 400 {
		t.Errorf("%d orders, want 400 different ones", len(ids))
	}
}

// TestIssueByHand: any server takes what a person wants.
func TestIssueByHand(t *testing.T) {
	b := newBed(t)
	one, two := b.server("one"), b.server("two")
	one.candidate(nil)
	until(t, "one leads", one.Leads)
	if err := two.IssueByHand(t.Context(), orderIDs(0, 5)); err != nil {
		t.Fatal(err)
	}
	if err := one.Issue(t.Context(), orderIDs(3, 8)); err != nil {
		t.Fatal(err)
	}
	if ids := one.wholeLog(); len(ids) != 8 {
		t.Errorf("%d orders, want 8: %q", len(ids), ids)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := two.Issue(ctx, orderIDs(8, 9)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that stands by: %v", err)
	}
}

// TestIssuedLater: what stands behind something in the log was issued later,
// though another server's clock is ahead; and only a server's word counts for that.
func TestIssuedLater(t *testing.T) {
	b := newBed(t)
	m := b.server("one")
	m.candidate(nil)
	until(t, "it leads", m.Leads)
	ahead := time.Now().Add(time.Hour)
	stranger := newStranger(t)
	put := func(s *fleet.Signer) {
		t.Helper()
		seq := m.Head() + 1
		e, err := s.Seal(fleet.Envelope{Seq: seq, To: fleet.All, Kind: fleet.KindOrder, Issued: ahead, Body: encode(riposte.Order{ID: "ahead"})})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.js.PublishMsg(t.Context(), message(fleet.OrderSubject(fleet.All), e)); err != nil {
			t.Fatal(err)
		}
		until(t, "it is at hand", func() bool { return m.Head() == seq })
	}
	put(stranger)
	if err := m.Issue(t.Context(), orderIDs(0, 1)); err != nil {
		t.Fatal(err)
	}
	if last := m.book.lastEntry(); !last.issued.Before(ahead) {
		t.Errorf("issued at %v, as a stranger has it", last.issued)
	}
	put(m.signer)
	if err := m.Issue(t.Context(), orderIDs(1, 4)); err != nil {
		t.Fatal(err)
	}
	if last := m.book.lastEntry(); !last.issued.Equal(ahead.Add(3)) {
		t.Errorf("issued at %v, want %v", last.issued, ahead.Add(3))
	}
}

// TestCurrent: who is told what it has missed is told of all that the broker had
// when it asked, whoever issued it.
func TestCurrent(t *testing.T) {
	b := newBed(t)
	one, two := b.server("one"), b.server("two")
	one.candidate(nil)
	until(t, "one leads", one.Leads)
	for i := range 100 {
		if err := one.Issue(t.Context(), orderIDs(i, i+1)); err != nil {
			t.Fatal(err)
		}
		var calls sync.WaitGroup
		for range 4 {
			calls.Go(func() {
				if err := two.current(t.Context()); err != nil {
					t.Error(err)
				}
				if head := two.Head(); head != uint64(i+1) {
					t.Errorf("the log ends at %d, at hand are %d", i+1, head)
				}
			})
		}
		calls.Wait()
	}
}
