package api

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// FlushRequest asks to take back everything that is in force.
type FlushRequest struct{ Asker }

// Progress is how far a flush has come.
type Progress struct {
	Done  int `json:"done"`
	Total int `json:"total"`
}

// Flushed is what came of a flush.
type Flushed struct {
	Undone   int      `json:"undone"`
	Left     int      `json:"left"`               // could not be undone; tried again while the daemon runs
	Problems []string `json:"problems,omitempty"` // why not, a few of them
}

// flushLine is one line of the answer to a flush: first how far it has come,
// again and again, last what came of it, or why it could not be done.
type flushLine struct {
	*Progress
	Result *Flushed `json:"result,omitempty"`
	Error  *Error   `json:"failed,omitempty"`
}

// progressEvery is how often a flush says how far it has come.
const progressEvery = 100 * time.Millisecond

// serveFlush answers with JSON lines while the flush goes on. Who hangs up does
// not stop it.
func serveFlush(c Control) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
			answer(w, nil, &Error{Status: http.StatusBadRequest, Message: "cannot read the request: " + err.Error()})
			return
		}
		var latest atomic.Pointer[Progress]
		result := make(chan flushLine, 1)
		go func() {
			f, err := c.Flush(r.Context(), FlushRequest{Asker{By: by(r.Context())}}, func(p Progress) { latest.Store(&p) })
			line := flushLine{Result: &f}
			if err != nil {
				line = flushLine{Error: asError(err)}
			}
			result <- line
		}()
		w.Header().Set("Content-Type", "application/jsonl")
		say := func(l flushLine) {
			_ = json.NewEncoder(w).Encode(l) // the peer hung up: nobody is left to tell
			_ = http.NewResponseController(w).Flush()
		}
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case l := <-result:
				say(l)
				return
			case <-tick.C:
				if p := latest.Swap(nil); p != nil {
					say(flushLine{Progress: p})
				}
			}
		}
	}
}

// Flush implements Control.
func (c *Client) Flush(ctx context.Context, r FlushRequest, progress func(Progress)) (Flushed, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return Flushed{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://riposte/v1/flush", bytes.NewReader(b))
	if err != nil {
		return Flushed{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Flushed{}, c.connectError(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Flushed{}, refused(resp)
	}
	return readFlush(resp.Body, progress)
}

// readFlush reads the answer to a flush.
func readFlush(r io.Reader, progress func(Progress)) (Flushed, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var l flushLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return Flushed{}, fmt.Errorf("read the daemon's answer: %w", err)
		}
		switch {
		case l.Error != nil:
			l.Error.Message = cmp.Or(l.Error.Message, "the daemon could not flush")
			return Flushed{}, l.Error
		case l.Result != nil:
			return *l.Result, nil
		case l.Progress != nil && progress != nil:
			progress(*l.Progress)
		}
	}
	if err := lines.Err(); err != nil {
		return Flushed{}, fmt.Errorf("read the daemon's answer: %w", err)
	}
	return Flushed{}, errors.New("the daemon stopped in the middle of its answer; what it had begun goes on at its next start")
}
