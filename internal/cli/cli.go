// Package cli is riposte's command line: one file a verb, each of which parses
// its flags, calls the room that does the work, and prints. It decides nothing.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"riposte/internal/api"
	"riposte/internal/settings"
)

// version is set at link time.
var version = "dev"

// The exit codes. A verb that finds problems in a configuration exits 3, also
// when it printed them as asked.
const (
	exitOK         = 0
	exitFailed     = 1
	exitUsage      = 2
	exitConfig     = 3
	exitNotRunning = 4
	exitPartly     = 5
)

const exitHelp = `Exit codes:
  0  done
  1  failed
  2  wrong usage
  3  errors in a configuration or rule file
  4  the daemon is not running
  5  done in part: some hosts or targets refused`

// exitError carries an exit code through cobra. A nil err has been printed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// env is what every verb needs.
type env struct {
	in       io.Reader
	out, err io.Writer
	json     bool
	socket   string
	settings string
}

// Main runs the command line and returns the exit code. A first signal asks
// the verb to stop, a second one ends the process.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	e := &env{in: in, out: out, err: errOut}
	root := newRootCommand(e)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	return e.report(root.ExecuteContext(ctx))
}

func newRootCommand(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "riposte",
		Short: "Answer attacks that show in logs, prove that the answer bites, take it back on time",
		Long: "riposte follows logs, matches them against OSSEC/Wazuh rules and carries out the active\n" +
			"responses of an ossec.conf, on time and with undo.\n\n" + exitHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
		Args:          verbs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitError{exitUsage, fmt.Errorf("%w; %s --help shows what there is", err, cmd.CommandPath())}
	})
	root.SetHelpCommand(newHelpCommand())
	f := root.PersistentFlags()
	f.BoolVar(&e.json, "json", false, "print JSON")
	f.StringVar(&e.settings, "settings", "", "riposte.yaml (default "+settings.DefaultPath()+" if it exists)")
	f.StringVar(&e.socket, "socket", "", "control socket of the daemon (default from the settings)")
	root.AddCommand(
		newRunCommand(e),
		newServerCommand(e),
		newAgentCommand(e),
		newCheckCommand(e),
		newLogtestCommand(e),
		newRulesetCommand(e),
		newStatusCommand(e),
		newListCommand(e),
		newHistoryCommand(e),
		newWhyCommand(e),
		newBlockCommand(e),
		newUnblockCommand(e),
		newAgentsCommand(e),
		newEnrollTokenCommand(e),
		newFlushCommand(e),
		newOffendersCommand(e),
		newForgiveCommand(e),
		newReloadCommand(e),
		newAllowCommand(e),
		newArmCommand(e),
		newConfirmCommand(e),
		newPauseCommand(e),
		newResumeCommand(e),
		newDoctorCommand(e),
		newAuditCommand(e),
		newScriptCommand(e),
		newSelftestCommand(e),
	)
	return root
}

// report prints err, if it is still to be printed, and returns its exit code.
func (e *env) report(err error) int {
	if err == nil {
		return exitOK
	}
	code := exitFailed
	var x *exitError
	switch {
	case errors.As(err, &x):
		code = x.code
		if x.err == nil {
			return code
		}
	case errors.Is(err, api.ErrNotRunning):
		code = exitNotRunning
	}
	if e.json {
		_ = json.NewEncoder(e.err).Encode(map[string]any{"error": err.Error(), "code": code})
		return code
	}
	fmt.Fprintf(e.err, "riposte: %v\n", err)
	return code
}

// print writes v as JSON when --json was given, else calls text.
func (e *env) print(v any, text func(w io.Writer)) error {
	if !e.json {
		text(e.out)
		return nil
	}
	enc := json.NewEncoder(e.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB]",
		Short: "What a verb does and takes",
		RunE: func(cmd *cobra.Command, a []string) error {
			of, left, err := cmd.Root().Find(a)
			if err == nil {
				err = verbs(of, left)
			}
			if err != nil {
				return err
			}
			of.InitDefaultHelpFlag()
			of.InitDefaultVersionFlag()
			return of.Help()
		},
	}
}

// verbs refuses what is not a verb of a command that only has verbs.
func verbs(cmd *cobra.Command, a []string) error {
	if len(a) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	err := fmt.Errorf("%s has no verb %q; %[1]s --help shows what there is", cmd.CommandPath(), a[0])
	if near := cmd.SuggestionsFor(a[0]); len(near) > 0 {
		err = fmt.Errorf("%s has no verb %q (did you mean %s?)", cmd.CommandPath(), a[0], strings.Join(near, ", "))
	}
	return &exitError{exitUsage, err}
}

// none refuses any argument.
func none(_ *cobra.Command, a []string) error {
	if len(a) > 0 {
		return fmt.Errorf("no argument is expected, got %q", a[0])
	}
	return nil
}

// args turns cobra's complaint about arguments into a usage error.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, a []string) error {
		if err := check(cmd, a); err != nil {
			return &exitError{exitUsage, fmt.Errorf("%w; usage: %s", err, cmd.UseLine())}
		}
		return nil
	}
}
