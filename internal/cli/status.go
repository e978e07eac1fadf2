package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"riposte/internal/api"
)

func newStatusCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "What the daemon watches, which responses are armed, how it fares",
		Args:  args(none),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, _ []string) error {
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			return e.print(s, func(w io.Writer) {
				printScreen(w, &s)
				fmt.Fprintf(w, "since     %s: %d events, %d alerts, %d orders, %d of them refused\n",
					when(s.Since), s.Events, s.Alerts, s.Orders, s.Refused)
			})
		}),
	}
}

// printScreen tells what a riposte watches and what it would do.
func printScreen(w io.Writer, s *api.Status) {
	mode := s.Mode
	if s.Reason != "" {
		mode += " (" + s.Reason + ")"
	}
	fmt.Fprintf(w, "riposte %s on %s, dialect %s, mode %s\n\n", s.Version, s.Host, s.Dialect, mode)
	fmt.Fprintf(w, "config    %s\n", s.Config)
	fmt.Fprintf(w, "rules     %s\n", s.Rules)
	for i, words := range s.Fleet {
		head := s.Role
		if i > 0 {
			head = ""
		}
		fmt.Fprintf(w, "%-9s %s\n", head, words)
	}
	head := "watching"
	for _, src := range s.Sources {
		line := src.Name
		if src.Detail != "" {
			line += ": " + src.Detail
		}
		if src.Error != "" {
			line += "\n            not now: " + src.Error
		}
		fmt.Fprintf(w, "%-9s %s\n", head, line)
		head = ""
	}
	if len(s.Sources) == 0 {
		fmt.Fprintf(w, "%-9s nothing: no log that the configuration names is here\n", head)
	}
	head = "armed"
	for _, r := range s.Responses {
		fmt.Fprintf(w, "%-9s %s\n", head, r.Words)
		if r.Problem != "" {
			fmt.Fprintf(w, "%-9s   not possible here: %s\n", "", r.Problem)
		} else {
			fmt.Fprintf(w, "%-9s   by %s\n", "", r.Mechanism)
		}
		head = ""
	}
	if s.Role == "agent" {
		fmt.Fprintf(w, "%-9s what the server orders\n", head)
	} else if len(s.Responses) == 0 {
		fmt.Fprintf(w, "%-9s nothing: the configuration has no active response\n", head)
	}
	head = "guarded"
	for _, g := range s.Guard {
		fmt.Fprintf(w, "%-9s %s\n", head, g)
		head = ""
	}
	fmt.Fprintf(w, "state     %d in force, %d offenders on record\n", s.InForce, s.Offenders)
	for _, p := range s.Problems {
		fmt.Fprintf(w, "problem   %s\n", p)
	}
}

// bite says how to see riposte at work: one line to paste.
func bite(w io.Writer) {
	fmt.Fprintf(w, "\nTo see it bite, paste this into another terminal (%s is from a documentation network, nobody's address):\n\n", biteAddress)
	fmt.Fprintf(w, "  for i in 1 2 3 4 5 6 7 8; do logger -p auth.info -t 'sshd[4242]' 'Failed password for root from %s port 50022 ssh2'; done\n\n", biteAddress)
	fmt.Fprintf(w, "Then: %[1]s list, %[1]s why %[2]s, %[1]s unblock %[2]s.\nCtrl-C ends riposte; what is blocked stays blocked until its time.\n\n",
		os.Args[0], biteAddress)
}

const biteAddress = "203.0.113.66"
