package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// maxBody bounds a request; the largest real one is a few hundred bytes.
const maxBody = 64 << 10

// peerKey carries the connected peer's identity in a request's context.
type peerKey struct{}

// Serve answers on l until ctx ends, then finishes the requests under way.
func Serve(ctx context.Context, l net.Listener, c Control) error {
	srv := &http.Server{
		Handler:           Handler(c),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peer(conn))
		},
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve control socket: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := srv.Shutdown(grace)
	<-done
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop control socket: %w", err)
	}
	return nil
}

// Handler maps the control interface to HTTP.
func Handler(c Control) http.Handler {
	mux := http.NewServeMux()
	get(mux, "/v1/status", func(ctx context.Context, _ Filter) (Status, error) { return c.Status(ctx) })
	get(mux, "/v1/list", c.InForce)
	get(mux, "/v1/history", c.History)
	get(mux, "/v1/offenders", c.Offenders)
	get(mux, "/v1/why", func(ctx context.Context, f Filter) (Why, error) { return c.Why(ctx, f.Target) })
	post(mux, "/v1/block", c.Block)
	post(mux, "/v1/unblock", c.Unblock)
	mux.HandleFunc("POST /v1/flush", serveFlush(c))
	post(mux, "/v1/forgive", c.Forgive)
	post(mux, "/v1/arm", func(ctx context.Context, r ArmRequest) (struct{}, error) {
		return struct{}{}, c.Arm(ctx, r)
	})
	post(mux, "/v1/confirm", c.Confirm)
	post(mux, "/v1/pause", c.Pause)
	post(mux, "/v1/doctor", c.Doctor)
	post(mux, "/v1/allow", c.Allow)
	post(mux, "/v1/reload", func(ctx context.Context, _ struct{}) (Reloaded, error) { return c.Reload(ctx) })
	fleetRoutes(mux, c)
	return mux
}

func by(ctx context.Context) string {
	if p, ok := ctx.Value(peerKey{}).(string); ok && p != "" {
		return p
	}
	return "control socket"
}

func get[R any](mux *http.ServeMux, path string, f func(context.Context, Filter) (R, error)) {
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		filter, err := parseFilter(r.URL.Query())
		if err != nil {
			answer(w, nil, err)
			return
		}
		v, err := f(r.Context(), filter)
		answer(w, v, err)
	})
}

func parseFilter(q url.Values) (Filter, error) {
	f := Filter{Target: q.Get("target"), Command: q.Get("command")}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return f, &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("limit %q is not a number of rows", s)}
		}
		f.Limit = n
	}
	return f, nil
}

// post serves what changes something. A request that is put on record learns who
// asks.
func post[T, R any](mux *http.ServeMux, path string, f func(context.Context, T) (R, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var req T
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&req); err != nil && !errors.Is(err, io.EOF) {
			answer(w, nil, &Error{Status: http.StatusBadRequest, Message: "cannot read the request: " + err.Error()})
			return
		}
		if asked, ok := any(&req).(interface{ from(peer string) }); ok {
			asked.from(by(r.Context()))
		}
		v, err := f(r.Context(), req)
		answer(w, v, err)
	})
}

func answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	if err == nil {
		_ = enc.Encode(v) // the peer hung up: nobody is left to tell
		return
	}
	e := asError(err)
	w.WriteHeader(e.Status)
	_ = enc.Encode(e)
}

// asError is an error as the peer is told it.
func asError(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Status: http.StatusInternalServerError, Message: err.Error()}
	}
	if e.Status == 0 {
		e.Status = http.StatusUnprocessableEntity
	}
	return e
}
