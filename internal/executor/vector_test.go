package executor

import (
	"context"
	"testing"
	"time"

	"riposte"
	"riposte/internal/journal"
)

// The vectors of spec/active-response.md, sections 8.5 and 8.6, as far as they
// are the executor's; those of the script protocols are in enforce/script. The
// responses sh and sh2 share the script a.sh, file stands for b.sh. Where
// riposte differs on purpose the reason stands beside it.
func TestVectors(t *testing.T) {
	bob, alice := riposte.Target{Kind: riposte.User, Value: "bob"}, riposte.Target{Kind: riposte.User, Value: "alice"}
	for _, tt := range []struct {
		name string
		do   func(h *host)
	}{
		{"89: the same address again only refreshes, whoever the user is", func(h *host) {
			h.want("two hits", h.do(h.order("sh", addr(1), 5*sec), h.order("sh", addr(1), 5*sec)), "applied 5s, extended 5s")
			h.want("calls", h.sh.asked(), "apply 203.0.0.1")
		}},
		{"90: another response of the same script adds nothing", func(h *host) {
			h.do(h.order("sh", addr(1), 5*sec))
			h.want("second", h.do(h.order("sh2", addr(1), 3*sec)), "applied 3s")
			h.want("calls", h.sh.asked(), "apply 203.0.0.1")
		}},
		{"91: another script does", func(h *host) {
			h.do(h.order("sh", addr(1), 5*sec), h.order("file", addr(1), 5*sec))
			h.want("calls", h.sh.asked()+" "+h.file.asked(), "apply 203.0.0.1 apply 203.0.0.1")
		}},
		{"92: two users are two (OSSEC and Wazuh 3 took them for one)", func(h *host) {
			h.sh.kind = riposte.User
			h.do(h.order("sh", alice, 5*sec))
			h.do(h.order("sh", bob, 5*sec))
			h.want("calls", h.sh.asked(), "apply alice, apply bob")
		}},
		{"93, 107: without timeout each order acts, and nothing is undone", func(h *host) {
			h.do(h.order("sh", addr(9), 60*sec), h.order("sh2", addr(9), 0), h.order("sh2", addr(9), 0))
			h.want("calls", h.sh.asked(), "apply 203.0.0.9, apply 203.0.0.9, apply 203.0.0.9")
		}},
		{"96: an undo needs no traffic to wake it", func(h *host) {
			h.do(h.order("sh", addr(1), 5*sec))
			h.sh.asked()
			h.sleep(5 * sec)
			h.want("calls", h.sh.asked(), "undo 203.0.0.1")
		}},
		{"97, 113: a stop undoes, if it is told to (the default keeps: a stop is no amnesty)", func(h *host) {
			h.o.OnStop = Undo
			h.stop()
			h.start()
			h.do(h.order("sh", addr(1), 50*sec))
			h.sh.asked()
			h.stop()
			h.want("calls", h.sh.asked(), "undo 203.0.0.1")
			h.start()
		}},
		{"98: after SIGKILL the undo still comes (it never did)", func(h *host) {
			h.do(h.order("sh", addr(1), 50*sec))
			l := &life{host: h, accepted: map[string]bool{}}
			l.crash()
			h.start()
			h.sleep(50 * sec)
			if h.sh.has(addr(1)) {
				h.Error("it was lost")
			}
		}},
		{"100: repeated 1,2,3 with a timeout of 3 s; a hit during the block does not climb (it did)", func(h *host) {
			hit := func() string { return h.do(h.order("sh", addr(1), 3*sec, mins, 2*mins, 3*mins)) }
			for _, want := range []string{"applied 3s", "applied 1m0s rung 1", "applied 2m0s rung 2", "applied 3m0s rung 3", "applied 3m0s rung 3", "applied 3m0s rung 3"} {
				h.want("hit", hit(), want)
				h.sleep(4 * mins)
			}
		}},
		{"101: a ladder of any length (five were kept)", func(h *host) {
			for n := range 8 {
				var ladder []time.Duration
				for i := range 7 {
					ladder = append(ladder, time.Duration(i+1)*mins)
				}
				h.do(h.order("sh", addr(1), sec, ladder...))
				h.sleep(10 * mins)
				if n < 7 {
					continue
				}
				rs, err := h.j.History(context.Background(), journal.Filter{Limit: 2})
				if err != nil || rs[1].Rung != 7 || rs[1].Until.Sub(rs[1].Time).Round(sec) != 7*mins {
					h.Errorf("eighth offence: %+v %v", rs, err)
				}
			}
		}},
		{"104, 105, 106: continue; abort and refresh with the latest time; continue", func(h *host) {
			h.want("first", h.do(h.order("sh", addr(1), 5*sec)), "applied 5s")
			h.sleep(2 * sec)
			h.want("again", h.do(h.order("sh", addr(1), 20*sec)), "extended 20s")
			h.want("another", h.do(h.order("sh", addr(2), 5*sec)), "applied 5s")
			h.want("calls", h.sh.asked(), "apply 203.0.0.1, apply 203.0.0.2")
			h.sleep(19 * sec)
			if !h.sh.has(addr(1)) {
				h.Error("ended with the first time")
			}
		}},
		{"112: hits without timeout are no offences", func(h *host) {
			h.do(h.order("sh", addr(1), 0), h.order("sh", addr(1), 0))
			h.want("timed", h.do(h.order("sh", addr(1), 5*sec, mins)), "applied 5s")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, nil, func(h *host) {
				h.o.OnStop = Keep
				tt.do(h)
				h.sleep(10 * mins)
			})
		})
	}
}
