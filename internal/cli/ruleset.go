package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"riposte"
	"riposte/internal/analysis"
	"riposte/internal/daemon"
	"riposte/internal/ossec"
	"riposte/internal/ossec/suite"
	"riposte/internal/settings"
)

func newRulesetCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "ruleset", Short: "Check and test rules and decoders", Args: verbs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(newRulesetTestCommand(e))
	return cmd
}

// rulesFlags say which ruleset a verb is about.
type rulesFlags struct{ config, root, dialect string }

func (f *rulesFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "", "ossec.conf (default from the settings)")
	cmd.Flags().StringVar(&f.root, "root", "", "installation that relative paths in it start from, such as /var/ossec")
	cmd.Flags().StringVar(&f.dialect, "dialect", "", "wazuh or ossec (default from the settings)")
}

// apply changes settings as the flags say.
func (f *rulesFlags) apply(s *settings.Settings) (err error) {
	if f.config != "" {
		s.OssecConf = f.config
	}
	if f.root != "" {
		s.Root = f.root
	}
	if f.dialect != "" {
		if s.Dialect, err = ossec.ParseDialect(f.dialect); err != nil {
			return &exitError{exitUsage, err}
		}
	}
	return nil
}

// world loads what the flags are about.
func (f *rulesFlags) world(e *env, loud bool) (*daemon.World, error) {
	s, err := e.loadSettings()
	if err != nil {
		return nil, err
	}
	if err := f.apply(s); err != nil {
		return nil, err
	}
	return e.world(s, loud)
}

func newRulesetTestCommand(e *env) *cobra.Command {
	var f rulesFlags
	cmd := &cobra.Command{
		Use:   "test SUITE…",
		Short: "Run suites of log lines and expected verdicts",
		Long: "Runs suites against the rules of a configuration: .ini files as OSSEC and Wazuh keep them,\n" +
			".jsonl files, and riposte's own .txt files (docs/rules.md). Prints one line a failure and the\n" +
			"counts last.",
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, files []string) error {
			w, err := f.world(e, false)
			if err != nil {
				return err
			}
			cases, err := e.suites(files, w.Settings.Dialect)
			if err != nil {
				return err
			}
			runner := suite.NewRunner(w.Set, analysis.Options{Host: w.Settings.HostName()}, time.Now())
			runner.Responses = func(a *riposte.Alert) (names []string) {
				orders, _ := w.Planner.Plan(a)
				for i := range orders {
					names = append(names, orders[i].Command.Name)
				}
				return names
			}
			r := runner.Run(cases)
			if err := e.print(r, func(out io.Writer) { err = r.Write(out) }); err != nil {
				return err
			}
			if r.Failed > 0 {
				return &exitError{code: exitFailed}
			}
			return err
		},
	}
	f.add(cmd)
	return cmd
}

// suites reads the cases of all files.
func (e *env) suites(files []string, d ossec.Dialect) ([]suite.Case, error) {
	var cases []suite.Case
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read a suite: %w", err)
		}
		cs, found := suite.Parse(name, src, d)
		for _, f := range found {
			fmt.Fprintln(e.err, f)
		}
		if ossec.Failed(found) {
			return nil, &exitError{code: exitConfig}
		}
		cases = append(cases, cs...)
	}
	return cases, nil
}
