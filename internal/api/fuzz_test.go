package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"riposte"
)

// quiet is a Control that does nothing and remembers what it was asked.
type quiet struct {
	Control
	asked any
}

func (q *quiet) Status(context.Context) (Status, error) { return Status{}, nil }
func (q *quiet) InForce(_ context.Context, f Filter) ([]Block, error) {
	q.asked = f
	return nil, nil
}
func (q *quiet) History(_ context.Context, f Filter) ([]riposte.Receipt, error) {
	q.asked = f
	return nil, nil
}
func (q *quiet) Offenders(_ context.Context, f Filter) ([]Offender, error) {
	q.asked = f
	return nil, nil
}
func (q *quiet) Why(_ context.Context, target string) (Why, error) {
	q.asked = target
	return Why{}, nil
}
func (q *quiet) Block(_ context.Context, r BlockRequest) ([]riposte.Receipt, error) {
	q.asked = r
	return nil, nil
}
func (q *quiet) Unblock(_ context.Context, r UnblockRequest) ([]riposte.Receipt, error) {
	q.asked = r
	return nil, nil
}
func (q *quiet) Flush(_ context.Context, r FlushRequest, _ func(Progress)) (Flushed, error) {
	q.asked = r
	return Flushed{}, nil
}
func (q *quiet) Forgive(_ context.Context, r UnblockRequest) (int, error) { q.asked = r; return 0, nil }
func (q *quiet) Arm(_ context.Context, r ArmRequest) error                { q.asked = r; return nil }
func (q *quiet) Confirm(_ context.Context, r ArmRequest) (bool, error) {
	q.asked = r
	return false, nil
}
func (q *quiet) Pause(_ context.Context, r PauseRequest) (bool, error) {
	q.asked = r
	return false, nil
}
func (q *quiet) Doctor(_ context.Context, r DoctorRequest) (Diagnosis, error) {
	q.asked = r
	return Diagnosis{}, nil
}
func (q *quiet) Allow(_ context.Context, r AllowRequest) (Allowed, error) {
	q.asked = r
	return Allowed{}, nil
}
func (q *quiet) Reload(context.Context) (Reloaded, error) { return Reloaded{}, nil }

// FuzzRequest sends any body and query to any call: whoever is on the socket
// gets an answer in JSON, and cannot say in whose name he speaks.
func FuzzRequest(f *testing.F) {
	posts := []string{"block", "unblock", "flush", "forgive", "arm", "confirm", "pause", "doctor", "allow", "reload"}
	gets := []string{"status", "list", "history", "offenders", "why"}
	for i := range len(posts) + len(gets) {
		f.Add(uint8(i), `{"target":"203.0.113.9","for":60000000000,"force":true}`, "target=203.0.113.9&limit=5")
	}
	f.Add(uint8(0), `{"target":"x","By":"root"}`, "limit=-1")
	f.Add(uint8(0), `{"by":"root"} trailing`, "limit=99999999999999999999&target=%zz")
	f.Add(uint8(3), strings.Repeat("[", 100_000), "")
	f.Fuzz(func(t *testing.T, call uint8, body, query string) {
		q := &quiet{}
		method, path := http.MethodPost, ""
		if i := int(call) % (len(posts) + len(gets)); i < len(posts) {
			path = "/v1/" + posts[i]
		} else {
			method, path = http.MethodGet, "/v1/"+gets[i-len(posts)]
		}
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		Handler(q).ServeHTTP(w, r)
		for _, line := range strings.Split(strings.TrimSpace(w.Body.String()), "\n") {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s %s with %q is answered %d %q", method, path, body, w.Code, w.Body)
			}
		}
		if w.Code != http.StatusOK && (q.asked != nil || w.Code != http.StatusBadRequest) {
			t.Errorf("%s %s with %q is answered %d, and was carried out: %v", method, path, body, w.Code, q.asked != nil)
		}
		var by string
		switch r := q.asked.(type) {
		case BlockRequest:
			by = r.By
		case UnblockRequest:
			by = r.By
		case FlushRequest:
			by = r.By
		case AllowRequest:
			by = r.By
		}
		if by != "" && by != "control socket" {
			t.Errorf("%q speaks for %q", body, by)
		}
	})
}

// FuzzFlushAnswer reads any answer to a flush.
func FuzzFlushAnswer(f *testing.F) {
	f.Add("{\"done\":1,\"total\":2}\n{\"result\":{\"undone\":2,\"left\":0}}\n")
	f.Add("{\"failed\":{\"error\":\"no\"}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := readFlush(strings.NewReader(text), func(Progress) {}); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
