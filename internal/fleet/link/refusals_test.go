package link

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"riposte/internal/fleet"
)

// TestRefusals: the first is said at once, then there is one line a minute, and
// none is left uncounted.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said diary
		r := newRefusals(said.logger(), time.Minute)
		defer r.rest.Stop()
		told := func(lines int) {
			t.Helper()
			if n := said.count("is refused"); n != lines {
				t.Fatalf("%d lines, want %d", n, lines)
			}
		}
		began := time.Now()
		for i := range 1000 {
			r.add("n", i)
		}
		told(1)
		<-r.due()
		r.tell()
		told(2)
		if !strings.Contains(said.String(), "n=999 messages=999") || time.Since(began) != time.Minute {
			t.Errorf("after %v: %s", time.Since(began), said.String())
		}
		r.add("n", "late")
		told(2)
		<-r.due()
		r.tell()
		told(3)
		<-r.due()
		r.tell() // nothing came meanwhile
		told(3)
		r.add("n", "new")
		told(4)
	})
}

// TestRefusedAnswers: an agent that has the broker's answers delivered to all
// agents has nothing done by them, and does not fill their logs.
func TestRefusedAnswers(t *testing.T) {
	b, m, h := pair(t)
	bad := b.enrolled(m, "002")
	nc, err := nats.Connect(bad.URLs[0], append(bad.Options(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	const many = 200
	for i := range many {
		if err := nc.PublishRequest(fleet.EventSubject("002"), fleet.LiveSubject(fleet.All), m.pack(1, uint64(i+1), "x")); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "they came, and were refused", func() bool { return h.diary.count("is refused") > 0 })
	if err := m.Issue(t.Context(), []Message{order("genuine")}); err != nil {
		t.Fatal(err)
	}
	until(t, "what is genuine is done", func() bool { return h.done() == "genuine" })
	if n := h.diary.count("is refused"); n != 1 {
		t.Errorf("%d lines of the log", n)
	}
}
