package restart

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"

	"riposte"
	"riposte/internal/enforce"
)

// Service is the mechanism of restart-service: it restarts the system's service
// that the command's first extra argument names.
type Service struct {
	o Options

	mu    sync.Mutex
	turns map[string]*turn
}

var _ enforce.Mechanism = (*Service)(nil)

// NewService returns the mechanism. Of the options it heeds Every, Limit, Run
// and OS, and Stamp as the beginning of a file name for each service.
func NewService(o Options) *Service {
	return &Service{o: o.filled(), turns: map[string]*turn{}}
}

// Name is "restart service".
func (s *Service) Name() string { return "restart service" }

// Kind is None: a restart acts on the host as a whole.
func (s *Service) Kind() riposte.Kind { return riposte.None }

// Durable is false: there is nothing to take back.
func (s *Service) Durable() bool { return false }

// Apply restarts each effect's service.
func (s *Service) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	return each(ctx, effects, func(ctx context.Context, e *enforce.Effect) enforce.Result {
		name, err := serviceName(e.Command.ExtraArgs)
		if err != nil {
			return enforce.Result{Err: err}
		}
		if err := s.turn(name).take(); err != nil {
			return enforce.Result{Err: fmt.Errorf("restart of %s: %w", name, err)}
		}
		ctx, cancel := context.WithTimeout(ctx, s.o.Limit)
		defer cancel()
		said, err := restartService(ctx, s.o, name)
		return enforce.Result{Output: said, Err: err}
	})
}

// Undo does nothing.
func (s *Service) Undo(_ context.Context, effects []enforce.Effect) []enforce.Result {
	return nothing(effects)
}

func (s *Service) turn(name string) *turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.turns[name]
	if t == nil {
		t = &turn{every: s.o.Every}
		if s.o.Stamp != "" {
			t.stamp = s.o.Stamp + "-" + name
		}
		s.turns[name] = t
	}
	return t
}

// serviceName takes the name from the arguments and lets through only what a
// service manager takes for one.
func serviceName(args []string) (string, error) {
	if len(args) == 0 || args[0] == "" {
		return "", fmt.Errorf("restart-service: name the service in the command's <extra_args>")
	}
	name := args[0]
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("-_.@:", c):
		default:
			return "", fmt.Errorf("restart-service: %q is no name of a service: it holds %q", name, c)
		}
	}
	if name[0] == '-' || name[0] == '.' {
		return "", fmt.Errorf("restart-service: %q is no name of a service: it begins with %q", name, name[0])
	}
	return name, nil
}

// restartService restarts a service by the system's own manager.
func restartService(ctx context.Context, o Options, name string) (said string, err error) {
	for _, argv := range serviceCommands(o.OS, name) {
		out, complaint, err := o.Run(ctx, argv, nil)
		if err != nil && !(argv[0] == "net.exe" && argv[1] == "stop") { // it may have been stopped before
			return output(out, complaint), fmt.Errorf("restart of %s: %w", name, err)
		}
	}
	return "restarted " + name, nil
}

// serviceCommands are the commands that restart a service, by system.
func serviceCommands(system, name string) [][]string {
	switch system {
	case "windows":
		return [][]string{{"net.exe", "stop", name}, {"net.exe", "start", name}}
	case "darwin":
		return [][]string{{"launchctl", "kickstart", "-k", "system/" + name}}
	case "openbsd":
		return [][]string{{"rcctl", "restart", name}}
	case "linux":
		if _, err := os.Stat("/run/systemd/system"); err == nil {
			return [][]string{{"systemctl", "restart", "--", name}}
		}
	}
	return [][]string{{"service", name, "restart"}}
}
