package broker

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		l := newLogger(slog.New(slog.NewTextHandler(&out, nil)))
		for range 1000 {
			l.Errorf("a stranger says %q", "x\ny")
		}
		if got := strings.Count(out.String(), "\n"); got != perSecond {
			t.Errorf("%d lines in a second", got)
		}
		if l.fatal() != nil {
			t.Error("an error is not the end")
		}
		time.Sleep(time.Second)
		l.Warnf("later")
		if !strings.Contains(out.String(), "lines=980") || !strings.Contains(out.String(), "later") {
			t.Errorf("said\n%s", out.String()[len(out.String())-300:])
		}
		l.Fatalf("no port %d", 1)
		if err := l.fatal(); err == nil || err.Error() != "no port 1" {
			t.Error(err)
		}
	})
}

func TestConnectionsLeaveFilesForStreams(t *testing.T) {
	limit, ok := openFiles()
	if !ok {
		t.Skip("this system sets no limit of open files")
	}
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, nil))
	if got := maxConnections(10, log); got != 10 || out.Len() > 0 {
		t.Errorf("%d connections; said %s", got, out.String())
	}
	if got := maxConnections(limit, log); got >= limit || !strings.Contains(out.String(), "open files") {
		t.Errorf("%d connections with %d files; said %s", got, limit, out.String())
	}
}
