package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"riposte/internal/api"
)

func newArmCommand(e *env) *cobra.Command {
	var r api.ArmRequest
	cmd := &cobra.Command{
		Use:   "arm --confirm DURATION",
		Short: "Let responses run on trial: without `riposte confirm` in time they are taken back",
		Long: "Starts a trial: what is put in force from now on is taken back, and new responses pause, unless\n" +
			"riposte confirm is run in time. If a response locks you out, waiting lets you in again.",
		Args: args(none),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, _ []string) error {
			if r.For <= 0 {
				return &exitError{exitUsage, errors.New("say how long the trial is to last: --confirm 5m")}
			}
			if err := c.Arm(cmd.Context(), r); err != nil {
				return err
			}
			end := time.Now().Add(r.For)
			return e.print(map[string]any{"until": end}, func(w io.Writer) {
				fmt.Fprintf(w, "on trial until %s: run riposte confirm before then, or it is all taken back\n", when(end))
			})
		}),
	}
	cmd.Flags().DurationVar(&r.For, "confirm", 0, "how long the trial lasts")
	return cmd
}

func newConfirmCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "confirm",
		Short: "End a trial well: what was put in force stays",
		Args:  args(none),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, _ []string) error {
			was, err := c.Confirm(cmd.Context(), api.ArmRequest{})
			if err != nil {
				return err
			}
			if !was {
				return &exitError{exitFailed, errors.New("there is no trial to confirm")}
			}
			return e.print(map[string]bool{"confirmed": true}, func(w io.Writer) { fmt.Fprintln(w, "confirmed") })
		}),
	}
}

func newPauseCommand(e *env) *cobra.Command {
	var r api.PauseRequest
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "Refuse new responses until resumed; what is in force still ends on time",
		Args:  args(none),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, _ []string) error {
			if _, err := c.Pause(cmd.Context(), r); err != nil {
				return err
			}
			return e.print(map[string]bool{"paused": true}, func(w io.Writer) { fmt.Fprintln(w, "paused: riposte resume ends it") })
		}),
	}
	cmd.Flags().StringVar(&r.Why, "why", "", "for the record")
	return cmd
}

func newResumeCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "resume",
		Short: "End a pause, and close the breaker",
		Args:  args(none),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, _ []string) error {
			was, err := c.Pause(cmd.Context(), api.PauseRequest{Resume: true})
			if err != nil {
				return err
			}
			return e.print(map[string]bool{"was_paused": was}, func(w io.Writer) {
				if was {
					fmt.Fprintln(w, "resumed")
				} else {
					fmt.Fprintln(w, "nothing was paused")
				}
			})
		}),
	}
}

func newDoctorCommand(e *env) *cobra.Command {
	var r api.DoctorRequest
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Compare what should be in force with what the host has",
		Long: "Compares the journal with the kernel and the files and says what drifted. --repair makes the\n" +
			"host agree with the journal. Exits 1 when something drifted and was not repaired.",
		Args: args(none),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, _ []string) error {
			d, err := c.Doctor(cmd.Context(), r)
			if err != nil {
				return err
			}
			if err := e.print(d, func(w io.Writer) { printDiagnosis(w, &d) }); err != nil {
				return err
			}
			if len(d.Errors) > 0 || len(d.Drift) > 0 && !r.Repair {
				return &exitError{code: exitFailed}
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&r.Repair, "repair", false, "make the host agree with the journal")
	return cmd
}

func printDiagnosis(w io.Writer, d *api.Diagnosis) {
	switch n := len(d.Drift); n {
	case 0:
		fmt.Fprintf(w, "compared %d effects: the host is as the journal says\n", d.Checked)
	case 1:
		fmt.Fprintln(w, "the host differs from the journal:")
	default:
		fmt.Fprintf(w, "the host differs from the journal in %d things:\n", n)
	}
	for _, x := range d.Drift {
		state := ""
		if x.Mended {
			state = " (mended)"
		}
		fmt.Fprintf(w, "  %s on %s: %s%s\n", x.Mechanism, visible(x.Target.String()), x.Words, state)
	}
	for _, s := range d.Skipped {
		fmt.Fprintf(w, "  %s cannot say what it holds\n", s)
	}
	for _, s := range d.Errors {
		fmt.Fprintf(w, "  problem: %s\n", visible(s))
	}
}

func newAllowCommand(e *env) *cobra.Command {
	var r api.AllowRequest
	cmd := &cobra.Command{
		Use:   "allow [ADDRESS | PREFIX | NAME]",
		Short: "Add to the allow list, for a time or for good; without argument list it",
		Long: "Adds an address, prefix or host name to the allow list of this host. What is in force against\n" +
			"it is taken back at once. Entries of ossec.conf and riposte.yaml stand beside these.",
		Args: args(cobra.MaximumNArgs(1)),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, a []string) error {
			if len(a) == 1 {
				r.Entry = a[0]
			} else if r.Remove || r.For != 0 {
				return &exitError{exitUsage, errors.New("name the address, prefix or host name")}
			}
			l, err := c.Allow(cmd.Context(), r)
			if err != nil {
				return err
			}
			return e.print(l, func(w io.Writer) {
				if l.Released > 0 {
					fmt.Fprintf(w, "taken back: %d\n", l.Released)
				}
				if len(l.Entries) == 0 {
					fmt.Fprintln(w, "nothing was allowed by hand")
					return
				}
				rows := [][]string{{"ENTRY", "ENDS", "SINCE", "BY", "WHY"}}
				for _, x := range l.Entries {
					end := "never"
					if !x.Until.IsZero() {
						end = when(x.Until)
					}
					rows = append(rows, []string{x.Entry, end, when(x.Since), x.By, x.Why})
				}
				table(w, rows)
			})
		}),
	}
	cmd.Flags().DurationVar(&r.For, "for", 0, "how long, such as 2h (default: for good)")
	cmd.Flags().BoolVar(&r.Remove, "remove", false, "take the entry off the list")
	cmd.Flags().StringVar(&r.Why, "why", "", "for the record")
	return cmd
}

func newAuditCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "The tamper-evident record of everything done", Args: verbs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(&cobra.Command{
		Use:   "verify",
		Short: "Find a changed or removed record",
		Args:  args(none),
		RunE: func(cmd *cobra.Command, _ []string) error {
			j, err := e.reading()
			if err != nil {
				return err
			}
			defer j.Close()
			v, err := j.Verify(cmd.Context())
			if err != nil {
				return err
			}
			if err := e.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "%d records, %d to %d, head %s\n", v.Records, v.First, v.Last, v.Head)
				for _, g := range v.Gaps {
					fmt.Fprintf(w, "lost to damage, and on record as lost: %d to %d\n", g.After+1, g.Before-1)
				}
				if v.Fault == nil {
					fmt.Fprintln(w, "the chain is whole")
				} else {
					fmt.Fprintf(w, "BROKEN at record %d: %s\n", v.Fault.Seq, visible(v.Fault.Text))
				}
			}); err != nil {
				return err
			}
			if v.Fault != nil {
				return &exitError{code: exitFailed}
			}
			return nil
		},
	}, newAuditExportCommand(e))
	return cmd
}
