package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"riposte/internal/check"
	"riposte/internal/daemon"
	"riposte/internal/host"
)

func newCheckCommand(e *env) *cobra.Command {
	var fix bool
	var f rulesFlags
	cmd := &cobra.Command{
		Use:   "check [OSSEC.CONF]",
		Short: "What is wrong in a configuration, and what each response does, in words",
		Long: "Judges an ossec.conf and the riposte.yaml beside it as the daemon would: errors, warnings and\n" +
			"notes with their place and what to do, then each response in words. --fix writes the mended\n" +
			"text to FILE.fixed, never over FILE, and shows the difference.",
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, a []string) error {
			s, err := e.loadSettings()
			if err != nil {
				return err
			}
			if err := f.apply(s); err != nil {
				return err
			}
			o := daemon.CheckOptions(s, nil)
			if len(a) == 1 {
				o.Conf = a[0]
			}
			if fix {
				return e.fix(o)
			}
			r := check.Run(o)
			if e.json {
				err = r.JSON(e.out)
			} else {
				err = r.Text(e.out)
			}
			if err == nil && r.Failed() {
				err = &exitError{code: exitConfig}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&fix, "fix", false, "write the mended text to FILE.fixed and show the difference")
	f.add(cmd)
	return cmd
}

// fix writes the mended configuration beside the original.
func (e *env) fix(o check.Options) error {
	before, after, n, left := check.Fix(o)
	if n == 0 {
		fmt.Fprintf(e.out, "%s: nothing to mend\n", left.File)
	} else {
		name := left.File + ".fixed"
		mode := os.FileMode(0o640)
		if st, err := os.Stat(left.File); err == nil {
			mode = st.Mode().Perm()
		}
		if err := host.ReplaceFile(name, after, mode); err != nil {
			return fmt.Errorf("write the mended configuration: %w", err)
		}
		fmt.Fprint(e.out, check.Diff(left.File, name, before, after))
		fmt.Fprintf(e.out, "\n%d findings mended, written to %s\n", n, name)
	}
	if left.Failed() {
		if n > 0 {
			fmt.Fprintln(e.out, "what is left:")
		}
		if err := left.Text(e.out); err != nil {
			return err
		}
		return &exitError{code: exitConfig}
	}
	return nil
}
