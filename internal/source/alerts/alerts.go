// Package alerts follows the alert file of another engine, the alerts.json of
// OSSEC or Wazuh, so that riposte answers what that engine detects.
package alerts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"riposte"
	"riposte/internal/source/file"
)

// maxAlert is the longest alert that is read, in bytes. An alert holds its
// record several times over: as a whole, in fields, and those before it.
const maxAlert = 4 << 20

// AlertBatch is a run of alerts in their order, with the position from which
// the source resumes once all of them are dealt with. A batch without alerts
// tells a new position only.
type AlertBatch struct {
	Source   string // "alerts:/var/ossec/logs/alerts/alerts.json"
	Position string
	Alerts   []*riposte.Alert
}

// Options says what to follow.
type Options struct {
	Path      string                                    // absolute; wild cards as in package file
	Parse     func(line []byte) (*riposte.Alert, error) // reads one line; the alert must not keep it
	Positions map[string]string                         // stored positions by source; others are ignored
	FromStart bool                                      // on the first start take the alerts that are there, too
	Log       *slog.Logger
}

// Source follows an alert file.
type Source struct {
	follower *file.Follower
	parse    func([]byte) (*riposte.Alert, error)
	log      *slog.Logger
	bad      int       // lines since they were last logged
	told     time.Time // when that was
}

// The follower's keys and ours differ in their prefix only: the same file may be
// followed as a log as well.
const prefix = "alerts:"

// New makes a source.
func New(opt Options) (*Source, error) {
	if opt.Parse == nil {
		return nil, errors.New("follow alerts: no parser given")
	}
	s := &Source{parse: opt.Parse, log: opt.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	positions := map[string]string{}
	for source, position := range opt.Positions {
		if path, ok := strings.CutPrefix(source, prefix); ok {
			positions[file.SourceOf(path)] = position
		}
	}
	var err error
	s.follower, err = file.New(file.Options{
		Inputs:    []file.Input{{Location: opt.Path, Format: riposte.FormatJSON, FromStart: opt.FromStart, Max: maxAlert}},
		Positions: positions,
		Log:       opt.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("follow alerts: %w", err)
	}
	return s, nil
}

// Run follows the file until ctx ends. A line that is no alert is left out, and
// logged.
func (s *Source) Run(ctx context.Context, out chan<- AlertBatch) error {
	ctx, cancel := context.WithCancel(ctx)
	lines := make(chan riposte.Batch)
	var err error
	var following sync.WaitGroup
	following.Go(func() {
		defer close(lines)
		err = s.follower.Run(ctx, lines)
	})
	defer following.Wait()
	defer cancel()
	for b := range lines {
		select {
		case out <- s.read(b):
		case <-ctx.Done():
			return nil
		}
	}
	return err
}

func (s *Source) read(b riposte.Batch) AlertBatch {
	path := strings.TrimPrefix(b.Source, file.SourceOf(""))
	batch := AlertBatch{Source: prefix + path, Position: b.Position}
	for i := range b.Events {
		ev := &b.Events[i]
		a, err := s.parse([]byte(ev.Text))
		if ev.Cut {
			err = fmt.Errorf("it is longer than %d bytes", maxAlert)
		}
		if err != nil {
			s.complain(path, err)
			continue
		}
		batch.Alerts = append(batch.Alerts, a)
	}
	return batch
}

// complain logs a line that is no alert, once a minute at most.
func (s *Source) complain(path string, err error) {
	s.bad++
	if time.Since(s.told) < time.Minute {
		return
	}
	s.log.Warn("a line is no alert", "file", path, "error", err, "lines", s.bad)
	s.bad, s.told = 0, time.Now()
}
