package daemon

import (
	"slices"
	"sync"

	"riposte"
)

// writtenAlerts are alerts that were in the log before their events came to be
// judged again, after a stop in the middle.
type writtenAlerts struct {
	mu  sync.Mutex
	ids map[string]bool
}

func (w *writtenAlerts) set(ids map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids = ids
}

// missing leaves out what is in the log.
func (w *writtenAlerts) missing(alerts []*riposte.Alert) []*riposte.Alert {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ids) == 0 {
		return alerts
	}
	return slices.DeleteFunc(slices.Clone(alerts), func(a *riposte.Alert) bool { return a.Number != 0 && w.ids[a.ID] })
}
