package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"riposte"
	"riposte/internal/analysis"
	"riposte/internal/daemon"
	"riposte/internal/ossec"
	"riposte/internal/ossec/suite"
	"riposte/internal/response"
	"riposte/internal/settings"
)

func newRulesetCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "ruleset", Short: "Check and test rules and decoders", Args: verbs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(newRulesetTestCommand(e), newRulesetCheckCommand(e))
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

// survey is what ruleset check says.
type survey struct {
	Rules     int             `json:"rules"`
	Decoders  int             `json:"decoders"`
	From      string          `json:"from"`
	Findings  []ossec.Finding `json:"findings"`
	NoSample  []int           `json:"rules_without_sample,omitempty"`
	Samples   int             `json:"samples,omitempty"`
	withSuite bool
}

func newRulesetCheckCommand(e *env) *cobra.Command {
	var f rulesFlags
	cmd := &cobra.Command{
		Use:   "check [SUITE…]",
		Short: "Counts, errors, dead and shadowed rules, unsafe decoders, rules without a sample",
		Long: "Loads the rules and decoders of a configuration and says what can do no good in them: rules that\n" +
			"can never fire, rules that an earlier one always takes the events of, decoders that read an\n" +
			"address from a place a stranger may write to. With suites it also names the rules that no case\n" +
			"of them fires.",
		RunE: func(_ *cobra.Command, files []string) error {
			s, err := e.loadSettings()
			if err != nil {
				return err
			}
			if err := f.apply(s); err != nil {
				return err
			}
			w, err := daemon.Load(s, new(response.IDs))
			if err != nil {
				_ = w.Report.Text(e.err) // stderr is gone: nobody is left to tell
				return &exitError{code: exitConfig}
			}
			out := survey{Rules: len(w.Set.Rules), Decoders: len(w.Set.Decoders), From: w.RulesName, withSuite: len(files) > 0}
			out.Findings = append(out.Findings, w.Report.Findings...)
			out.Findings = append(out.Findings, w.Set.Survey()...)
			if len(files) > 0 {
				cases, err := e.suites(files, w.Settings.Dialect)
				if err != nil {
					return err
				}
				out.Samples = len(cases)
				out.NoSample = without(w, cases)
			}
			return e.print(out, func(w io.Writer) { printSurvey(w, &out) })
		},
	}
	f.add(cmd)
	return cmd
}

// without lists the rules above level 0 that no case wants to fire.
func without(w *daemon.World, cases []suite.Case) []int {
	wanted := map[string]bool{}
	for _, c := range cases {
		if !c.Negate {
			wanted[c.Want.Rule] = true
		}
	}
	var out []int
	for _, r := range w.Set.Rules {
		if r.Level > 0 && !r.NoAlert && !wanted[strconv.Itoa(r.ID)] {
			out = append(out, r.ID)
		}
	}
	return out
}

func printSurvey(w io.Writer, s *survey) {
	counts := map[string]int{}
	for _, f := range s.Findings {
		fmt.Fprintln(w, f)
		counts[f.Code]++
	}
	if s.withSuite {
		fmt.Fprintf(w, "%d rules have none of the %d samples", len(s.NoSample), s.Samples)
		for i, id := range s.NoSample {
			if i == 20 {
				fmt.Fprint(w, ", …")
				break
			}
			fmt.Fprint(w, map[bool]string{true: ": ", false: ", "}[i == 0], id)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%s: %d dead, %d shadowed, %d decoders to look at\n", s.From, counts["dead-rule"], counts["shadowed-rule"], counts["unsafe-decoder"])
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
