package audit

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"riposte/internal/journal"
)

// Options say where records go.
type Options struct {
	Journal *journal.Journal
	Address string // as for Dial
	Host    string
	Log     *slog.Logger
}

// How often it is looked for new records, and how long a server that is away is
// left alone at most.
const (
	every    = time.Second
	pauseMax = time.Minute
)

// Follow sends every record, those first that are kept already, until ctx ends.
// How far it has come is kept in the journal: a crash repeats at most the records
// of the last second, and a server that is away gets them later. What a server
// lost that took it nobody knows.
func Follow(ctx context.Context, o Options) error {
	key := "audit " + o.Address
	stored, err := o.Journal.Positions(ctx)
	if err != nil {
		return err
	}
	after, _ := strconv.ParseInt(stored[key], 10, 64) // none: from the first one on
	pause := every
	for {
		sent, err := send(ctx, &o, after)
		if sent > after {
			if err := o.Journal.SetPositions(map[string]string{key: strconv.FormatInt(sent, 10)}); err != nil {
				o.Log.Error("cannot store how far the audit was sent", "error", err)
			}
			after, pause = sent, every
		}
		if err != nil && ctx.Err() == nil {
			if pause == every {
				o.Log.Warn("audit records wait for the syslog server", "error", err)
			}
			pause = min(2*pause, pauseMax)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// Bounds of what is read at once: while it is sent, the journal is not held up.
const (
	maxLines = 1000
	maxBytes = 4 << 20
)

var errEnough = errors.New("enough for once")

// send sends what there is after a record, over a connection that it makes when
// there is something, and returns the last record sent.
func send(ctx context.Context, o *Options, after int64) (last int64, err error) {
	type record struct {
		seq  int64
		line []byte
	}
	last = after
	var s *Sender
	defer func() {
		if s != nil {
			_ = s.Close() // what it took is sent
		}
	}()
	for {
		var records []record
		size := 0
		err := o.Journal.Export(ctx, last, func(seq int64, line []byte) error {
			records = append(records, record{seq, line})
			if size += len(line); len(records) == maxLines || size > maxBytes {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) || len(records) == 0 {
			return last, err
		}
		if s == nil {
			if s, err = Dial(ctx, o.Address, o.Host); err != nil {
				return last, err
			}
		}
		for _, r := range records {
			if err := s.Send(ctx, r.line); err != nil {
				return last, err
			}
			last = r.seq
		}
	}
}
