package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"riposte"
	"riposte/internal/alertlog"
	"riposte/internal/daemon"
	"riposte/internal/enforce/script"
	"riposte/internal/ossec"
	"riposte/internal/selftest"
)

func newScriptCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "script", Short: "Try out active-response scripts", Args: verbs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var user bool
	test := &cobra.Command{
		Use:   "test FILE",
		Short: "Call a script by every contract, out of the host's reach, and say what is wrong with it",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			o := script.CheckOptions{EncodeAlert: func(a *riposte.Alert) []byte { return alertlog.AppendJSON(nil, a, ossec.Wazuh) }}
			if user {
				o.Expect = []riposte.Kind{riposte.User}
			}
			r, err := script.Check(cmd.Context(), a[0], o)
			if err != nil {
				return err
			}
			if err := e.print(r, func(w io.Writer) { printScript(w, r) }); err != nil {
				return err
			}
			if r.Problems() {
				return &exitError{code: exitFailed}
			}
			return nil
		},
	}
	test.Flags().BoolVar(&user, "user", false, "its command expects a user, not an address")
	cmd.AddCommand(test)
	return cmd
}

func printScript(w io.Writer, r *script.Report) {
	tried := "not tried"
	if r.Sandbox != "" {
		tried = "tried: " + r.Sandbox
	}
	fmt.Fprintf(w, "%s, %s\n", r.Script, tried)
	var speaks []string
	for _, g := range r.Speaks {
		speaks = append(speaks, g.String())
	}
	if len(speaks) == 0 {
		speaks = []string{"none"}
	}
	fmt.Fprintf(w, "contracts it keeps: %s; riposte calls it by %s\n", strings.Join(speaks, ", "), r.Runs)
	for _, m := range r.Remarks {
		kind := "note"
		if m.Problem {
			kind = "problem"
		}
		fmt.Fprintf(w, "  %s: %s\n", kind, visible(m.Text))
	}
	if len(r.Remarks) == 0 {
		fmt.Fprintln(w, "nothing is wrong with it")
	}
}

func newSelftestCommand(e *env) *cobra.Command {
	var executable string
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Prove with packets that this host's mechanism blocks, and lets go",
		Long: "Builds a small network of namespaces on the spot, touching neither firewall nor routes of this\n" +
			"host, and proves with packets that the mechanism blocks new and open connections, to the host,\n" +
			"forwarded and to containers, over IPv4 and IPv6, and that the undo restores all of them.",
		Args: args(none),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := e.loadSettings()
			if err != nil {
				return err
			}
			o := selftest.Options{Open: daemon.Opener(s, executable)}
			if !e.json {
				o.Progress = func(st selftest.Step) { fmt.Fprintf(e.err, "\r\x1b[K%s: %s", st.Phase, st.Name) }
			}
			r, err := selftest.Run(cmd.Context(), o)
			if !e.json {
				fmt.Fprint(e.err, "\r\x1b[K")
			}
			if err != nil {
				return err
			}
			if e.json {
				err = r.JSON(e.out)
			} else {
				_, err = fmt.Fprintln(e.out, r.String())
			}
			if err == nil && !r.Passed {
				err = &exitError{code: exitFailed}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&executable, "executable", "firewall-drop", "stock response to test: firewall-drop, route-null, …")
	return cmd
}
