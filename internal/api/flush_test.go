package api

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// flusher is a Control of which only Flush is called.
type flusher struct {
	Control
	flush func(ctx context.Context, progress func(Progress)) (Flushed, error)
}

func (f flusher) Flush(ctx context.Context, _ FlushRequest, progress func(Progress)) (Flushed, error) {
	return f.flush(ctx, progress)
}

// serve answers with a control on a socket, and returns its client.
func serve(t *testing.T, c Control) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, c) }()
	client := NewClient(path)
	t.Cleanup(func() {
		client.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return client
}

func TestFlushTellsHowFarItHasCome(t *testing.T) {
	heard := make(chan struct{})
	want := Flushed{Undone: 2, Left: 1, Problems: []string{"stuck\nfast"}}
	client := serve(t, flusher{flush: func(_ context.Context, progress func(Progress)) (Flushed, error) {
		progress(Progress{1, 3})
		<-heard
		return want, nil
	}})
	var seen []Progress
	got, err := client.Flush(t.Context(), FlushRequest{}, func(p Progress) {
		seen = append(seen, p)
		close(heard)
	})
	if err != nil || got.Undone != 2 || got.Left != 1 || !slices.Equal(got.Problems, want.Problems) {
		t.Errorf("%+v, %v", got, err)
	}
	if !slices.Equal(seen, []Progress{{1, 3}}) {
		t.Errorf("progress %v", seen)
	}
}

func TestFlushThatFails(t *testing.T) {
	client := serve(t, flusher{flush: func(context.Context, func(Progress)) (Flushed, error) {
		return Flushed{}, errors.New("the executor is stopped")
	}})
	var e *Error
	if _, err := client.Flush(t.Context(), FlushRequest{}, nil); !errors.As(err, &e) || e.Message != "the executor is stopped" {
		t.Errorf("%v", err)
	}
}

// Who hangs up is no longer told; the control knows by its context.
func TestFlushHungUp(t *testing.T) {
	told := make(chan error, 1)
	begun := make(chan struct{})
	client := serve(t, flusher{flush: func(ctx context.Context, progress func(Progress)) (Flushed, error) {
		close(begun)
		<-ctx.Done()
		told <- ctx.Err()
		return Flushed{}, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	if _, err := client.Flush(ctx, FlushRequest{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	select {
	case <-told:
	case <-time.After(30 * time.Second):
		t.Error("the control was not told")
	}
}

func TestFlushAnswerCutShort(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "in the middle of its answer",
		`{"done":1,"total":2}` + "\n": "in the middle of its answer",
		"nonsense\n":                  "read the daemon's answer",
		strings.Repeat("x", 1<<20):    "read the daemon's answer",
	} {
		if _, err := readFlush(strings.NewReader(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want %s", text, err, want)
		}
	}
}
