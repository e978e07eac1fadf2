package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"riposte/internal/api"
	"riposte/internal/daemon"
	"riposte/internal/settings"
)

func newRunCommand(e *env) *cobra.Command {
	cmd := newRoleCommand(e, daemon.Alone)
	cmd.Use = "run"
	cmd.Short = "Guard this host until stopped"
	cmd.Long = "Follows the logs that the configuration names, judges their lines and carries out the\n" +
		"responses, on this host, in the foreground. Without configuration it uses a built-in one.\n" +
		"SIGHUP reads configuration and rules again. A stop keeps what is in force (on_stop)."
	return cmd
}

// newRoleCommand runs a daemon.
func newRoleCommand(e *env, role daemon.Role) *cobra.Command {
	var config string
	var observe, stdin bool
	cmd := &cobra.Command{
		Args: args(none),
		RunE: func(cmd *cobra.Command, _ []string) error {
			read := func() (*settings.Settings, error) {
				s, err := e.loadSettings()
				if err != nil {
					return nil, err
				}
				if config != "" {
					s.OssecConf = config
				}
				if observe {
					s.Mode = settings.Observe
				}
				return s, nil
			}
			s, err := read()
			if err != nil {
				return err
			}
			again := func() (*settings.Settings, error) {
				s, err := read()
				if err != nil {
					err = errors.New("riposte.yaml has errors") // they were printed
				}
				return s, err
			}
			o := daemon.Options{
				Role: role, Settings: s, Again: again, Version: version, Log: logger(e, s), Hangup: hangups(),
				Ready: func(st api.Status) {
					answers := role == daemon.Alone || role == daemon.Server && len(s.Fleet.Brokers) == 0
					e.ready(st, answers && !stdin)
				},
			}
			if stdin {
				o.Input = e.in
			}
			err = daemon.Run(cmd.Context(), o)
			var ce *daemon.ConfigError
			switch {
			case errors.As(err, &ce):
				_ = ce.World.Report.Text(e.err) // stderr is gone: nobody is left to tell
				return &exitError{code: exitConfig}
			case errors.Is(err, daemon.ErrReexec):
				return reexec()
			}
			return err
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "ossec.conf (default from the settings)")
	cmd.Flags().BoolVar(&stdin, "stdin", false, "judge log lines from standard input as well, and stop when it ends")
	cmd.Flags().BoolVar(&observe, "observe", false, "change nothing, only say what would be done")
	return cmd
}

// ready shows the first screen and, with invite, how to see riposte at work.
func (e *env) ready(st api.Status, invite bool) {
	_ = e.print(st, func(w io.Writer) {
		printScreen(w, &st)
		if invite && st.Mode != "observe" && runtime.GOOS != "windows" { // which has no logger(1)
			bite(w)
		}
	})
}

func logger(e *env, s *settings.Settings) *slog.Logger {
	o := &slog.HandlerOptions{Level: s.Log.Level.Slog()}
	if s.Log.Format.String() == "json" {
		return slog.New(slog.NewJSONHandler(e.err, o))
	}
	return slog.New(slog.NewTextHandler(e.err, o))
}

// hangups delivers SIGHUP for the life of the process.
func hangups() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}

// reexec replaces this process by a new riposte with the same arguments.
func reexec() error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("restart in place: %w", err)
	}
	return fmt.Errorf("restart in place: %w", execve(exe, os.Args, os.Environ()))
}
