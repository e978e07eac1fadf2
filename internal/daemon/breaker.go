package daemon

import (
	"context"
	"fmt"
	"time"

	"riposte"
	"riposte/internal/guard"
)

// breaker sees to it that somebody hears of it when the guard's breaker opens.
type breaker struct {
	opened chan string // in words
}

func newBreaker() breaker { return breaker{opened: make(chan string, 1)} }

// note is told every receipt: it is a refusal that opens the breaker.
func (b *breaker) note(r *riposte.Receipt, g *guard.Guard) {
	if r.Outcome != riposte.Refused {
		return
	}
	if words := g.BreakerOpen(); words != "" {
		select {
		case b.opened <- words:
		default: // one waits already
		}
	}
}

// breakerRule is the rule of the alert that the breaker opened; no rule file of
// either system has this number.
const breakerRule = 599

// watchBreaker raises an alert each time the breaker opens, which may be
// answered by what acts on no target, such as a mail, and says when it closes.
func (d *Daemon) watchBreaker(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	raised := "" // the opening that was told
	for {
		select {
		case <-ctx.Done():
			return nil
		case words := <-d.breaker.opened:
			if words == raised {
				continue
			}
			raised = words
			d.log.Warn("the breaker opened", "reason", words)
			d.answer([]*riposte.Alert{d.breakerAlert(words, time.Now())})
		case <-tick.C:
			if raised != "" && d.guard.BreakerOpen() == "" {
				raised = ""
				d.log.Info("the breaker closed; new responses are carried out again")
			}
		}
	}
}

// breakerAlert is the alert that the breaker opened.
func (d *Daemon) breakerAlert(words string, now time.Time) *riposte.Alert {
	name := d.world.Load().Settings.HostName()
	return &riposte.Alert{
		ID: fmt.Sprintf("%d.%d", now.Unix(), serial(true, now)), Time: now, Manager: name, Hostname: name, Location: "riposte", Log: true,
		FullLog: "riposte: " + words,
		Rule:    riposte.Rule{ID: breakerRule, Level: 12, Description: "riposte: the breaker opened, new responses are refused.", Groups: "riposte,breaker,", Mail: true},
	}
}
