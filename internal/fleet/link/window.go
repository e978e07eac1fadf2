package link

import (
	"fmt"
	"strconv"
	"strings"
)

// windowSize is how far behind the newest message of an agent a late one may
// come. An agent has fewer on their way at once (maxUnacked).
const windowSize = 512

// window remembers which messages of one epoch of an agent were taken. Messages
// are numbered one by one, but one whose way failed comes after its followers.
type window struct {
	epoch uint64
	last  uint64
	taken [windowSize / 64]uint64 // bit n%windowSize: message n
}

// take reports whether message n comes for the first time. What is too old to
// tell does not.
func (w *window) take(n uint64) bool {
	if n == 0 || n+windowSize <= w.last {
		return false
	}
	if n > w.last {
		if n-w.last >= windowSize {
			w.taken = [windowSize / 64]uint64{}
		} else {
			for i := w.last + 1; i < n; i++ {
				w.taken[i%windowSize/64] &^= 1 << (i % 64)
			}
		}
		w.last = n
	} else if w.has(n) {
		return false
	}
	w.taken[n%windowSize/64] |= 1 << (n % 64)
	return true
}

func (w *window) has(n uint64) bool { return w.taken[n%windowSize/64]&(1<<(n%64)) != 0 }

// join adds what another window of the same epoch remembers.
func (w *window) join(o window) {
	if o.last > w.last {
		*w, o = o, *w
	}
	for n := o.last; n > 0 && n+windowSize > o.last && n+windowSize > w.last; n-- {
		if o.has(n) {
			w.taken[n%windowSize/64] |= 1 << (n % 64)
		}
	}
}

// maxEpochs is how many epochs of an agent are remembered. Each start of an
// agent begins one; what it had not sent before keeps the old.
const maxEpochs = 8

// history is what is remembered of one agent's messages: a window for each
// epoch, oldest first.
type history []window

// take reports whether a message comes for the first time.
func (h *history) take(epoch, n uint64) bool {
	w := h.window(epoch)
	return w != nil && w.take(n)
}

// window returns the window of an epoch, nil when that is too long ago.
func (h *history) window(epoch uint64) *window {
	i := len(*h)
	for i > 0 && (*h)[i-1].epoch >= epoch {
		if i--; (*h)[i].epoch == epoch {
			return &(*h)[i]
		}
	}
	if i == 0 && len(*h) == maxEpochs {
		return nil
	}
	*h = append(*h, window{})
	copy((*h)[i+1:], (*h)[i:])
	(*h)[i] = window{epoch: epoch}
	if len(*h) > maxEpochs {
		*h = (*h)[1:]
		i--
	}
	return &(*h)[i]
}

// join adds what another history remembers.
func (h *history) join(o history) {
	for _, w := range o {
		if mine := h.window(w.epoch); mine != nil {
			mine.join(w)
		}
	}
}

// String writes the history so that parseHistory reads it.
func (h history) String() string {
	var b []byte
	for i := range h {
		if i > 0 {
			b = append(b, '/')
		}
		b = strconv.AppendUint(b, h[i].epoch, 16)
		b = strconv.AppendUint(append(b, ':'), h[i].last, 16)
		for _, t := range h[i].taken {
			b = append(b, ':')
			if t != 0 {
				b = strconv.AppendUint(b, t, 16)
			}
		}
	}
	return string(b)
}

func parseHistory(text string) (history, error) {
	var h history
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, "/") {
		f := strings.Split(part, ":")
		var w window
		if len(f) != 2+len(w.taken) {
			return nil, fmt.Errorf("%q is not a window of messages", part)
		}
		for i, to := range append([]*uint64{&w.epoch, &w.last}, w.bits()...) {
			if f[i] == "" {
				continue
			}
			n, err := strconv.ParseUint(f[i], 16, 64)
			if err != nil {
				return nil, fmt.Errorf("window of messages: %w", err)
			}
			*to = n
		}
		if len(h) > 0 && h[len(h)-1].epoch >= w.epoch || len(h) == maxEpochs {
			return nil, fmt.Errorf("%q: the epochs are not in order", text)
		}
		h = append(h, w)
	}
	return h, nil
}

func (w *window) bits() []*uint64 {
	out := make([]*uint64, len(w.taken))
	for i := range w.taken {
		out[i] = &w.taken[i]
	}
	return out
}
