package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"riposte/internal/api"
	"riposte/internal/daemon"
	"riposte/internal/journal"
	"riposte/internal/ossec"
	"riposte/internal/response"
	"riposte/internal/settings"
)

// loadSettings reads riposte.yaml. Its errors are printed.
func (e *env) loadSettings() (*settings.Settings, error) {
	s, found := settings.Load(e.settings)
	for _, f := range found {
		fmt.Fprintln(e.err, f)
	}
	if s == nil {
		return nil, &exitError{code: exitConfig}
	}
	if e.socket != "" {
		s.Socket = e.socket
	}
	return s, nil
}

// client returns a client for the running daemon.
func (e *env) client() (*api.Client, error) {
	if e.socket != "" {
		return api.NewClient(e.socket), nil
	}
	s, err := e.loadSettings()
	if err != nil {
		return nil, err
	}
	return api.NewClient(s.Socket), nil
}

// asking runs a verb that asks the running daemon.
func (e *env) asking(do func(cmd *cobra.Command, c *api.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := e.client()
		if err != nil {
			return err
		}
		defer c.Close()
		return do(cmd, c, args)
	}
}

// reading opens the journal for queries, whether or not the daemon runs.
func (e *env) reading() (*journal.Journal, error) {
	s, err := e.loadSettings()
	if err != nil {
		return nil, err
	}
	return journal.OpenReading(daemon.JournalPath(s))
}

// world loads configuration and rules for a verb that only looks. Errors among
// the findings are printed and end the verb; the rest is printed too when
// loud.
func (e *env) world(s *settings.Settings, loud bool) (*daemon.World, error) {
	w, err := daemon.Load(s, new(response.IDs))
	for _, f := range w.Report.Findings {
		if loud || f.Severity == ossec.Error {
			fmt.Fprintln(e.err, f)
		}
	}
	if err != nil {
		return nil, &exitError{code: exitConfig}
	}
	return w, nil
}
