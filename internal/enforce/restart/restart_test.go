package restart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

func effect(executable string, extra ...string) enforce.Effect {
	return enforce.Effect{Command: riposte.Command{Name: "restart", Executable: executable, ExtraArgs: extra}}
}

func apply(t *testing.T, m enforce.Mechanism, e enforce.Effect) enforce.Result {
	t.Helper()
	r := m.Apply(t.Context(), []enforce.Effect{e})
	if len(r) != 1 || !r[0].NoUndo {
		t.Fatalf("results %+v, expected one without undo", r)
	}
	return r[0]
}

// install puts a control program in place that says whether its system runs
// and keeps what it was told.
func install(t *testing.T, name string, status string) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("#!/bin/sh\necho $1 >> %s/told\ncase $1 in status) %s;; restart) [ -e %[1]s/broken ] && { echo 'broken' >&2; exit 1; }; echo Completed.;; esac\n", root, status)
	if err := os.WriteFile(filepath.Join(root, "bin", name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

func told(root string) string {
	b, _ := os.ReadFile(filepath.Join(root, "told"))
	return string(b)
}

// TestControl restarts OSSEC or Wazuh by the real program of this test's
// making, where it runs, and riposte where not.
func TestControl(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("control programs are shell scripts")
	}
	const running = "echo 'ossec-monitord not running...'; echo 'ossec-execd is running...'; exit 1"
	tests := []struct {
		name, control, status string
		told                  string
		reexec                bool
	}{
		{"OSSEC", "ossec-control", running, "status\nrestart\n", false},
		{"Wazuh", "wazuh-control", "echo 'wazuh-execd is running...'", "status\nrestart\n", false},
		{"installed but stopped", "ossec-control", "echo 'ossec-execd not running...'; exit 1", "status\n", true},
		{"none", "other", "", "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := install(t, tt.control, tt.status)
			var again bool
			m := New(Options{OS: "linux", Roots: []string{root}, Reexec: func() error { again = true; return nil }})
			r := apply(t, m, effect("restart-ossec.sh"))
			if r.Err != nil || r.Output == "" {
				t.Errorf("result %+v", r)
			}
			if told(root) != tt.told || again != tt.reexec {
				t.Errorf("told %q, restarted itself: %v", told(root), again)
			}
		})
	}

	root := install(t, "ossec-control", running)
	os.WriteFile(filepath.Join(root, "broken"), nil, 0o600)
	if r := apply(t, New(Options{OS: "linux", Roots: []string{root}}), effect("restart-ossec")); r.Err == nil || !strings.Contains(r.Err.Error(), "broken") {
		t.Errorf("error %v", r.Err)
	}
	if r := apply(t, New(Options{OS: "linux", Roots: []string{t.TempDir()}}), effect("restart-ossec")); r.Err == nil {
		t.Error("restarted though there is nothing to restart")
	}
	failed := errors.New("no")
	r := apply(t, New(Options{OS: "plan9", Reexec: func() error { return failed }}), effect("restart-ossec"))
	if !errors.Is(r.Err, failed) {
		t.Errorf("error %v", r.Err)
	}
}

func TestWhichControl(t *testing.T) {
	root := install(t, "ossec-control", "")
	if err := os.Link(filepath.Join(root, "bin", "ossec-control"), filepath.Join(root, "bin", "wazuh-control")); err != nil {
		t.Fatal(err)
	}
	m := New(Options{OS: "linux", Roots: []string{"/nonexistent", root}})
	for executable, first := range map[string]string{"restart-ossec.sh": "ossec-control", "restart-wazuh": "wazuh-control"} {
		if got := m.controls(executable); len(got) != 2 || filepath.Base(got[0]) != first {
			t.Errorf("%s: %q", executable, got)
		}
	}
}

// TestLoop: not more than one restart a minute, whoever remembers the last.
func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stamp := filepath.Join(t.TempDir(), "state", "restart")
		n := 0
		restart := func() *Restart {
			return New(Options{OS: "plan9", Stamp: stamp, Reexec: func() error { n++; return nil }})
		}
		m := restart()
		results := m.Apply(t.Context(), []enforce.Effect{effect("restart-ossec"), effect("restart-ossec"), effect("restart-ossec")})
		if results[0].Err != nil || !errors.Is(results[1].Err, ErrTooSoon) || !errors.Is(results[2].Err, ErrTooSoon) {
			t.Errorf("results %+v", results)
		}
		time.Sleep(59 * time.Second)
		if r := apply(t, m, effect("restart-ossec")); !errors.Is(r.Err, ErrTooSoon) || !strings.Contains(r.Err.Error(), "59s ago") {
			t.Errorf("after 59 s: %v", r.Err)
		}
		if r := apply(t, restart(), effect("restart-ossec")); !errors.Is(r.Err, ErrTooSoon) {
			t.Errorf("after 59 s and a restart: %v", r.Err)
		}
		time.Sleep(time.Second)
		if r := apply(t, restart(), effect("restart-ossec")); r.Err != nil || n != 2 {
			t.Errorf("after a minute: %v, %d restarts", r.Err, n)
		}
		future := time.Now().Add(time.Hour).Format(time.RFC3339Nano)
		os.WriteFile(stamp, []byte(future), 0o600)
		if r := apply(t, restart(), effect("restart-ossec")); r.Err != nil {
			t.Errorf("after the clock was set back: %v", r.Err)
		}
		os.WriteFile(stamp, []byte("junk"), 0o600)
		if r := apply(t, restart(), effect("restart-ossec")); r.Err != nil {
			t.Errorf("with a damaged stamp: %v", r.Err)
		}
	})
}

// TestService records the exact commands for every system.
func TestService(t *testing.T) {
	f := func(system string, want ...[]string) {
		t.Helper()
		var got [][]string
		m := NewService(Options{OS: system, Run: func(_ context.Context, argv []string, _ []byte) ([]byte, []byte, error) {
			got = append(got, argv)
			return nil, nil, nil
		}})
		if r := apply(t, m, effect("restart-service", "nginx")); r.Err != nil {
			t.Errorf("%s: %v", system, r.Err)
		}
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s: %q, expected %q", system, got, want)
		}
	}
	f("windows", []string{"net.exe", "stop", "nginx"}, []string{"net.exe", "start", "nginx"})
	f("darwin", []string{"launchctl", "kickstart", "-k", "system/nginx"})
	f("openbsd", []string{"rcctl", "restart", "nginx"})
	f("freebsd", []string{"service", "nginx", "restart"})
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		f("linux", []string{"systemctl", "restart", "--", "nginx"})
	} else {
		f("linux", []string{"service", "nginx", "restart"})
	}
}

func TestServiceRefused(t *testing.T) {
	var ran int
	broken := errors.New("unit not found")
	m := NewService(Options{OS: "freebsd", Run: func(context.Context, []string, []byte) ([]byte, []byte, error) {
		ran++
		return nil, nil, broken
	}})
	for _, name := range []string{"", "-x", ".hidden", "a b", "a/b", "a;b", "ä"} {
		if r := apply(t, m, effect("restart-service", name)); r.Err == nil {
			t.Errorf("%q was taken", name)
		}
	}
	if r := apply(t, m, effect("restart-service")); r.Err == nil || ran != 0 {
		t.Errorf("without a name: %v, %d commands", r.Err, ran)
	}
	if r := apply(t, m, effect("restart-service", "a")); !errors.Is(r.Err, broken) {
		t.Errorf("error %v", r.Err)
	}
	if r := apply(t, m, effect("restart-service", "a")); !errors.Is(r.Err, ErrTooSoon) || ran != 1 {
		t.Errorf("the second time: %v, %d commands", r.Err, ran)
	}
	if r := apply(t, m, effect("restart-service", "b")); !errors.Is(r.Err, broken) || ran != 2 {
		t.Errorf("another service: %v, %d commands", r.Err, ran)
	}
}

// TestWindows records the commands for the services of both systems.
func TestWindows(t *testing.T) {
	var got []string
	m := New(Options{OS: "windows", Run: func(_ context.Context, argv []string, _ []byte) ([]byte, []byte, error) {
		got = append(got, strings.Join(argv, " "))
		switch {
		case argv[0] == "sc.exe" && argv[2] == "OssecSvc":
			return []byte("        STATE              : 4  RUNNING\r\n"), nil, nil
		case argv[0] == "sc.exe":
			return nil, nil, errors.New("1060: the service does not exist")
		}
		return nil, nil, nil
	}})
	if r := apply(t, m, effect("restart-ossec.cmd")); r.Err != nil {
		t.Error(r.Err)
	}
	want := []string{"sc.exe query WazuhSvc", "sc.exe query OssecSvc", "net.exe stop OssecSvc", "net.exe start OssecSvc"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, expected %q", got, want)
	}
}

func TestUndo(t *testing.T) {
	for _, m := range []enforce.Mechanism{New(Options{}), NewService(Options{})} {
		if r := m.Undo(t.Context(), []enforce.Effect{effect("x")}); r[0].Err != nil || !r[0].NoUndo {
			t.Errorf("%s: undo %+v", m.Name(), r)
		}
		if m.Name() == "" || m.Kind() != riposte.None || m.Durable() {
			t.Errorf("%s: kind or durability", m.Name())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r := m.Apply(ctx, []enforce.Effect{effect("x")}); !errors.Is(r[0].Err, context.Canceled) {
			t.Errorf("%s: after the end of the context: %v", m.Name(), r[0].Err)
		}
	}
}
