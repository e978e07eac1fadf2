package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"riposte"
	"riposte/internal/api"
	"riposte/internal/fleet"
)

// table prints rows in columns. Cells may be foreign: another host's words, say.
func table(w io.Writer, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		cells := make([]string, len(r))
		for i, cell := range r {
			cells[i] = visible(cell)
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	_ = tw.Flush()
}

func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// left says how long it is until t, in words.
func left(t, now time.Time) string {
	if t.IsZero() {
		return "until undone"
	}
	d := t.Sub(now).Round(time.Second)
	if d <= 0 {
		return "due"
	}
	return "for another " + d.String()
}

func offence(rung int) string {
	if rung == 0 {
		return "first"
	}
	return fmt.Sprintf("step %d", rung)
}

func newListCommand(e *env) *cobra.Command {
	var f api.Filter
	hosts := false
	cmd := &cobra.Command{
		Use:   "list",
		Short: "What is in force now, and until when",
		Args:  args(none),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, _ []string) error {
			list := c.InForce
			if hosts {
				list = c.FleetInForce
			}
			blocks, err := list(cmd.Context(), f)
			if err != nil {
				return err
			}
			return e.print(blocks, func(w io.Writer) { printBlocks(w, blocks, hosts, time.Now()) })
		}),
	}
	cmd.Flags().BoolVar(&hosts, "fleet", false, "on a server: on all hosts")
	filterFlags(cmd, &f)
	return cmd
}

// printBlocks lists what is in force, with a column of hosts or without.
func printBlocks(w io.Writer, blocks []api.Block, hosts bool, now time.Time) {
	if len(blocks) == 0 {
		fmt.Fprintln(w, "nothing is in force")
		return
	}
	rows := [][]string{{"TARGET", "RESPONSE", "MECHANISM", "SINCE", "ENDS", "OFFENCE", "BECAUSE OF"}}
	if hosts {
		rows[0] = slices.Insert(rows[0], 0, "HOST")
	}
	for _, b := range blocks {
		end := left(b.Until, now)
		if b.State != "" && b.State != "in force" {
			end = b.State
		}
		target := b.Target.String()
		if b.Addresses > 0 {
			target += fmt.Sprintf(" (%d addresses)", b.Addresses)
		}
		row := []string{target, b.Command, b.Mechanism, when(b.Since), end, offence(b.Rung), b.By}
		if hosts {
			row = slices.Insert(row, 0, hostName(b.Host))
		}
		rows = append(rows, row)
	}
	table(w, rows)
}

func newHistoryCommand(e *env) *cobra.Command {
	var f api.Filter
	cmd := &cobra.Command{
		Use:   "history [TARGET]",
		Short: "What was done, refused and taken back, newest first",
		Args:  args(cobra.MaximumNArgs(1)),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, a []string) error {
			if len(a) == 1 {
				f.Target = a[0]
			}
			rs, err := c.History(cmd.Context(), f)
			if err != nil {
				return err
			}
			return e.print(rs, func(w io.Writer) { printReceipts(w, rs) })
		}),
	}
	filterFlags(cmd, &f)
	return cmd
}

func printReceipts(w io.Writer, rs []riposte.Receipt) {
	if len(rs) == 0 {
		fmt.Fprintln(w, "nothing on record")
		return
	}
	hosts := elsewhere(rs)
	rows := [][]string{{"TIME", "OUTCOME", "TARGET", "RESPONSE", "MECHANISM", "BECAUSE OF", "WORDS"}}
	for _, r := range rs {
		rows = append(rows, []string{when(r.Time), r.Outcome.String(), r.Target.String(), r.Command, r.Mechanism, r.By, words(r)})
	}
	if hosts {
		rows[0] = slices.Insert(rows[0], 0, "HOST")
		for i, r := range rs {
			rows[i+1] = slices.Insert(rows[i+1], 0, hostName(r.Host))
		}
	}
	table(w, rows)
}

// elsewhere reports whether a receipt is another host's.
func elsewhere(rs []riposte.Receipt) bool {
	return slices.ContainsFunc(rs, func(r riposte.Receipt) bool { return r.Host != fleet.Server && r.Host != "" })
}

// words says what a receipt adds to its outcome.
func words(r riposte.Receipt) string {
	if r.Reason != "" {
		return r.Reason
	}
	switch r.Outcome {
	case riposte.Applied, riposte.Verified, riposte.Extended, riposte.Repaired:
		if r.Once {
			return "done once, nothing to undo"
		}
		if r.Until.IsZero() {
			return "until undone"
		}
		return fmt.Sprintf("until %s (%s)", when(r.Until), offence(r.Rung))
	}
	return ""
}

func newWhyCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "why TARGET",
		Short: "The log line, the rule, the response and what became of it, for one target",
		Args:  args(cobra.ExactArgs(1)),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, a []string) error {
			why, err := c.Why(cmd.Context(), a[0])
			if err != nil {
				return err
			}
			return e.print(why, func(w io.Writer) { printWhy(w, why) })
		}),
	}
}

func printWhy(w io.Writer, why api.Why) {
	if len(why.Orders) == 0 {
		fmt.Fprintf(w, "nothing on record about %s\n", why.Target)
		return
	}
	hosts := slices.ContainsFunc(why.Orders, func(o api.WhyOrder) bool { return elsewhere(o.Receipts) })
	for i, o := range why.Orders {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "order %s, %s\n", visible(o.Order.ID), when(o.Order.Issued))
		if a := o.Order.Alert; a != nil {
			fmt.Fprintf(w, "  log line   %s\n", visible(a.FullLog))
			fmt.Fprintf(w, "  from       %s\n", visible(a.Location))
			fmt.Fprintf(w, "  rule       %d (level %d) %s\n", a.Rule.ID, a.Rule.Level, visible(a.Rule.Description))
			fmt.Fprintf(w, "  alert      %s\n", a.ID)
		}
		fmt.Fprintf(w, "  response   %s\n", visible(fmt.Sprintf("%s on %s, because of %s", o.Order.Command.Name, o.Order.Target, o.Order.By)))
		for _, r := range o.Receipts {
			line := fmt.Sprintf("  %-10s %s", r.Outcome, r.Time.Local().Format("2006-01-02 15:04:05.000"))
			if hosts {
				line += " on " + hostName(r.Host)
			}
			if r.Mechanism != "" {
				line += " by " + r.Mechanism
			}
			if s := words(r); s != "" {
				line += ": " + s
			}
			fmt.Fprintln(w, visible(line))
		}
	}
}

// visible makes control characters of foreign text visible, so that neither a log
// line nor another host's receipt can drive the reader's terminal, or forge a
// line.
func visible(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func newBlockCommand(e *env) *cobra.Command {
	var r api.BlockRequest
	cmd := &cobra.Command{
		Use:   "block TARGET",
		Short: "Put a response in force by hand",
		Long: "Puts a response in force by hand: on an address or prefix with the first armed firewall\n" +
			"response, or with the one that --command names. The guard is asked as always; --force passes\n" +
			"it and is recorded.",
		Args: args(cobra.ExactArgs(1)),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, a []string) error {
			r.Target = a[0]
			rs, err := c.Block(cmd.Context(), r)
			if err == nil && r.Where == "all" && len(rs) > 0 && !e.json {
				return errors.Join(e.receipts(rs, nil), follow(cmd.Context(), e, c, rs[0].Order))
			}
			return e.receipts(rs, err)
		}),
	}
	cmd.Flags().StringVar(&r.Command, "command", "", "name of the <command> to use")
	cmd.Flags().DurationVar(&r.For, "for", 0, "how long, such as 10m or 24h (default: until undone)")
	cmd.Flags().BoolVar(&r.Force, "force", false, "pass the guard; recorded with your name")
	placeFlags(cmd, &r.Where)
	return cmd
}

func newUnblockCommand(e *env) *cobra.Command {
	var r api.UnblockRequest
	cmd := &cobra.Command{
		Use:   "unblock TARGET | --order ID | --all",
		Short: "Take a response back now",
		Args:  args(cobra.MaximumNArgs(1)),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, a []string) error {
			if len(a) == 1 {
				r.Target = a[0]
			}
			if n := count(r.Target != "", r.Order != "", r.All); n != 1 {
				return &exitError{exitUsage, fmt.Errorf("name one of: a target, --order, --all; usage: %s", cmd.UseLine())}
			}
			rs, err := c.Unblock(cmd.Context(), r)
			return e.receipts(rs, err)
		}),
	}
	cmd.Flags().StringVar(&r.Command, "command", "", "only this response")
	cmd.Flags().StringVar(&r.Order, "order", "", "the order with this id")
	cmd.Flags().BoolVar(&r.All, "all", false, "everything that is in force")
	cmd.Flags().BoolVar(&r.Forgive, "forgive", false, "forget the offences too")
	placeFlags(cmd, &r.Where)
	return cmd
}

func count(bs ...bool) (n int) {
	for _, b := range bs {
		if b {
			n++
		}
	}
	return n
}

// receipts prints receipts and turns refusals and failures into exit codes.
func (e *env) receipts(rs []riposte.Receipt, err error) error {
	if err != nil {
		return err
	}
	if err := e.print(rs, func(w io.Writer) { printReceipts(w, rs) }); err != nil {
		return err
	}
	bad := 0
	for _, r := range rs {
		switch r.Outcome {
		case riposte.Refused, riposte.Failed, riposte.Expired:
			bad++
		}
	}
	switch {
	case bad == 0:
		return nil
	case bad < len(rs):
		return &exitError{code: exitPartly}
	}
	return &exitError{code: exitFailed}
}

func newOffendersCommand(e *env) *cobra.Command {
	var f api.Filter
	cmd := &cobra.Command{
		Use:   "offenders",
		Short: "Who offended how often, and where each stands on the ladder",
		Args:  args(none),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, _ []string) error {
			os, err := c.Offenders(cmd.Context(), f)
			if err != nil {
				return err
			}
			return e.print(os, func(w io.Writer) {
				if len(os) == 0 {
					fmt.Fprintln(w, "no offenders on record")
					return
				}
				rows := [][]string{{"TARGET", "RESPONSE", "OFFENCES", "LAST", "STANDS AT"}}
				for _, o := range os {
					rows = append(rows, []string{o.Target.String(), o.Command, fmt.Sprint(o.Offences), when(o.Last), offence(o.Rung)})
				}
				table(w, rows)
			})
		}),
	}
	filterFlags(cmd, &f)
	return cmd
}

func newForgiveCommand(e *env) *cobra.Command {
	var r api.UnblockRequest
	cmd := &cobra.Command{
		Use:   "forgive TARGET | --all",
		Short: "Forget offences: the next one counts as the first",
		Args:  args(cobra.MaximumNArgs(1)),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, a []string) error {
			if len(a) == 1 {
				r.Target = a[0]
			}
			if (r.Target == "") != r.All {
				return &exitError{exitUsage, fmt.Errorf("name a target or --all; usage: %s", cmd.UseLine())}
			}
			n, err := c.Forgive(cmd.Context(), r)
			if err != nil {
				return err
			}
			return e.print(map[string]int{"forgiven": n}, func(w io.Writer) { fmt.Fprintf(w, "forgiven: %d\n", n) })
		}),
	}
	cmd.Flags().StringVar(&r.Command, "command", "", "only this response")
	cmd.Flags().BoolVar(&r.All, "all", false, "all offenders")
	return cmd
}

func newReloadCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Read configuration and rules again; on any error the old ones stay",
		Args:  args(none),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, _ []string) error {
			r, err := c.Reload(cmd.Context())
			if bad := (*api.Error)(nil); errors.As(err, &bad) && bad.Status == http.StatusUnprocessableEntity {
				return &exitError{exitConfig, err}
			}
			if err != nil {
				return err
			}
			return e.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "reloaded: %s; %s\n", r.Config, r.Rules)
				for _, f := range r.Findings {
					fmt.Fprintln(w, f)
				}
			})
		}),
	}
}

func filterFlags(cmd *cobra.Command, f *api.Filter) {
	cmd.Flags().StringVar(&f.Command, "command", "", "only this response")
	cmd.Flags().IntVar(&f.Limit, "limit", 0, "at most this many rows (default 1000)")
	if cmd.Name() != "history" {
		cmd.Flags().StringVar(&f.Target, "target", "", "only this target")
	}
}
