package daemon

import (
	"fmt"
	"testing"
)

// TestChosen: a canary is about as many agents as was asked for, the same ones
// each time and all that a smaller share had, and others for another command.
func TestChosen(t *testing.T) {
	const agents = 10000
	both := 0
	for _, command := range []string{"firewall-drop", "host-deny"} {
		for _, percent := range []int{0, 1, 10, 50, 99, 100} {
			n := 0
			for i := range agents {
				id := fmt.Sprintf("%03d", i+1)
				if !chosen(id, command, percent) {
					continue
				}
				n++
				if percent < 100 && !chosen(id, command, percent+1) {
					t.Errorf("%s is among %d %% of %s and not among %d %%", id, percent, command, percent+1)
				}
				if percent == 10 && chosen(id, "firewall-drop", 10) && chosen(id, "host-deny", 10) {
					both++
				}
			}
			if want := agents * percent / 100; n < want*9/10-30 || n > want*11/10+30 || percent == 0 && n > 0 {
				t.Errorf("%s: %d of %d agents are chosen for %d %%", command, n, agents, percent)
			}
		}
	}
	if both /= 2; both < 50 || both > 150 { // 100 if the commands have nothing to do with each other
		t.Errorf("%d agents try both commands out", both)
	}
}
