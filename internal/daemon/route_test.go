package daemon

import (
	"slices"
	"testing"

	"riposte"
)

// TestRouteToAnAgentThatJudges: what is for the host of the alert is left to an
// agent that judges for itself, by whatever way the order would come to it; what
// is for others, or for it by its number, is not.
func TestRouteToAnAgentThatJudges(t *testing.T) {
	s := &server{d: &Daemon{}}
	for _, c := range []struct {
		place      riposte.Place
		told, left []string // without and with an analysis of its own
	}{
		{riposte.Place{Local: true}, []string{"001"}, nil},
		{riposte.Place{Local: true, Defined: "002"}, []string{"001", "002"}, []string{"002"}},
		{riposte.Place{Local: true, Defined: "001"}, []string{"001"}, nil},
		{riposte.Place{Defined: "001"}, []string{"001"}, []string{"001"}},
	} {
		for _, analyses := range []bool{false, true} {
			want := c.told
			if analyses {
				want = c.left
			}
			o := &riposte.Order{Place: c.place, Alert: &riposte.Alert{Agent: riposte.Agent{ID: "001", Analyses: analyses}}}
			if to, here := s.route(o); here || !slices.Equal(to, want) {
				t.Errorf("%+v, judges for itself %v: goes to %v and here %v, want %v", c.place, analyses, to, here, want)
			}
		}
	}
}
