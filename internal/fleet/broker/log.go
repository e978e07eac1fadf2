package broker

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// perSecond bounds the lines of nats-server's that reach the log: strangers
// cause most of them.
const perSecond = 20

// logger hands nats-server's log on, bounded, and remembers why it could not
// start.
type logger struct {
	log *slog.Logger

	mu      sync.Mutex
	second  time.Time
	lines   int
	dropped int
	died    error
}

func newLogger(log *slog.Logger) *logger { return &logger{log: log} }

// fatal is why the broker could not start; nil while nothing is wrong.
func (l *logger) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.died
}

// allow reports whether a line may still be written in this second, and how
// many were not before it.
func (l *logger) allow(now time.Time) (ok bool, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.second) >= time.Second {
		l.second, l.lines = now, 0
		dropped, l.dropped = l.dropped, 0
	}
	if l.lines++; l.lines > perSecond {
		l.dropped++
		return false, 0
	}
	return true, dropped
}

func (l *logger) write(level func(msg string, args ...any), format string, v []any) {
	ok, dropped := l.allow(time.Now())
	if dropped > 0 {
		l.log.Warn("broker: more was said than is written here", "lines", dropped)
	}
	if ok {
		level("broker: " + fmt.Sprintf(format, v...))
	}
}

func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	l.died = fmt.Errorf(format, v...)
	l.mu.Unlock()
	l.log.Error("broker: " + fmt.Sprintf(format, v...))
}

func (l *logger) Errorf(format string, v ...any) { l.write(l.log.Warn, format, v) } // mostly what clients did
func (l *logger) Warnf(format string, v ...any)  { l.write(l.log.Warn, format, v) }
func (l *logger) Noticef(format string, v ...any) {
	l.log.Debug("broker: " + fmt.Sprintf(format, v...))
}
func (l *logger) Debugf(string, ...any) {}
func (l *logger) Tracef(string, ...any) {}
