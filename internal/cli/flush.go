package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"riposte/internal/api"
	"riposte/internal/daemon"
	"riposte/internal/host"
	"riposte/internal/journal"
	"riposte/internal/settings"
)

func newFlushCommand(e *env) *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:   "flush",
		Short: "Take back everything that is in force on this host",
		Long: "Takes back everything that is in force on this host, and removes what else of riposte's is found\n" +
			"on it. Offenders keep their place on the ladder, and new responses go on: riposte pause stops\n" +
			"them. Where no daemon runs, flush does it itself. On a terminal it asks first.\n" +
			"Exits 0 when nothing is left, 5 when some could not be undone, 1 when none could.",
		Args: args(none),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := e.loadSettings()
			if err != nil {
				return err
			}
			if !yes && host.IsTerminal(e.in) && !e.sure("Take back everything that is in force on this host?") {
				return &exitError{exitFailed, errors.New("nothing was done")}
			}
			bar := e.newBar()
			out, err := e.flush(cmd.Context(), s, bar.set)
			bar.end()
			if err != nil {
				return err
			}
			return e.flushed(out)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// flush has the daemon take everything back, or does it where none runs.
func (e *env) flush(ctx context.Context, s *settings.Settings, progress func(api.Progress)) (api.Flushed, error) {
	c := api.NewClient(s.Socket)
	defer c.Close()
	out, err := c.Flush(ctx, api.FlushRequest{}, progress)
	if !errors.Is(err, api.ErrNotRunning) {
		return out, err
	}
	out, err = daemon.FlushAlone(ctx, s, myself(), logger(e, s), progress)
	if errors.Is(err, journal.ErrInUse) {
		return out, &exitError{exitNotRunning, fmt.Errorf("a riposte runs on %s but does not answer on %s: give its --socket, or stop it first",
			daemon.JournalPath(s), s.Socket)}
	}
	return out, err
}

// flushed tells what came of a flush.
func (e *env) flushed(out api.Flushed) error {
	if err := e.print(out, func(w io.Writer) {
		switch {
		case out.Undone+out.Left == 0:
			fmt.Fprintln(w, "nothing was in force")
		case out.Left == 0:
			fmt.Fprintf(w, "taken back: %d, nothing is left\n", out.Undone)
		default:
			fmt.Fprintf(w, "taken back: %d, left: %d\n", out.Undone, out.Left)
		}
		for _, p := range out.Problems {
			fmt.Fprintf(w, "  problem: %s\n", visible(p))
		}
	}); err != nil {
		return err
	}
	switch {
	case out.Left == 0 && len(out.Problems) == 0:
		return nil
	case out.Undone > 0 || out.Left == 0:
		return &exitError{code: exitPartly}
	}
	return &exitError{code: exitFailed}
}

// sure asks a person, who must say yes.
func (e *env) sure(question string) bool {
	fmt.Fprintf(e.err, "%s [y/N] ", question)
	line, _ := bufio.NewReader(e.in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true
	}
	return false
}

// myself names who runs this process, for the audit.
func myself() string {
	u, err := user.Current()
	if err != nil {
		return "command line"
	}
	return fmt.Sprintf("%s (uid %s)", u.Username, u.Uid)
}

// bar shows how far something has come: a bar that moves on a terminal, a line
// now and then elsewhere, nothing beside JSON.
type bar struct {
	w     io.Writer // nil: nothing is shown
	moves bool
	next  time.Time
	shown bool
}

// barWidth is the length of a whole bar.
const barWidth = 40

// lineEvery is how often a line tells how far it has come, where no bar can.
const lineEvery = time.Second

func (e *env) newBar() *bar {
	if e.json {
		return &bar{}
	}
	return &bar{w: e.err, moves: host.IsTerminal(e.err), next: time.Now().Add(lineEvery)}
}

func (b *bar) set(p api.Progress) {
	now := time.Now()
	switch {
	case b.w == nil || p.Total == 0:
	case b.moves:
		if now.Before(b.next) && b.shown && p.Done < p.Total {
			return
		}
		n := barWidth * p.Done / p.Total
		fmt.Fprintf(b.w, "\r\x1b[K[%s%s] %d of %d", strings.Repeat("#", n), strings.Repeat(".", barWidth-n), p.Done, p.Total)
		b.shown, b.next = true, now.Add(50*time.Millisecond)
	case now.After(b.next):
		fmt.Fprintf(b.w, "%d of %d taken back\n", p.Done, p.Total)
		b.next = now.Add(lineEvery)
	}
}

// end takes the bar away.
func (b *bar) end() {
	if b.shown {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}
