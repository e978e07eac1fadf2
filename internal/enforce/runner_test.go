//go:build unix

package enforce

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestExec(t *testing.T) {
	t.Setenv("RIPOSTE_SECRET", "s3cret")
	out, _, err := Exec(t.Context(), []string{"sh", "-c", "cat; env"}, []byte("in\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s := string(out); !strings.HasPrefix(s, "in\n") || strings.Contains(s, "s3cret") || !strings.Contains(s, "LC_ALL=C\n") {
		t.Errorf("printed %q: expected the input, the C locale and nothing of our environment", s)
	}

	out, complaint, err := Exec(t.Context(), []string{"sh", "-c", "echo partly; echo went wrong >&2; echo more >&2; exit 3"}, nil)
	if err == nil || !strings.Contains(err.Error(), "sh: exit status 3: went wrong") {
		t.Errorf("error %v does not say what the program said", err)
	}
	if string(out) != "partly\n" || string(complaint) != "went wrong\nmore\n" {
		t.Errorf("output of a failed program: %q, %q", out, complaint)
	}

	// Nothing in an argument means anything to a shell.
	out, _, err = Exec(t.Context(), []string{"printf", "%s", "$(id); `id` > /x"}, nil)
	if err != nil || string(out) != "$(id); `id` > /x" {
		t.Errorf("argument became %q, %v", out, err)
	}
}

func TestExecEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, _, err := Exec(ctx, []string{"sleep", "30"}, nil)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 5*time.Second {
		t.Errorf("ended with %v after %v", err, time.Since(start))
	}
	if _, _, err := Exec(t.Context(), []string{"/nonexistent/tool"}, nil); err == nil {
		t.Error("a missing program ran")
	}
	if _, _, err := Exec(t.Context(), nil, nil); err == nil {
		t.Error("no program ran")
	}
}

func TestExecBounded(t *testing.T) {
	out, _, err := Exec(t.Context(), []string{"head", "-c", "40000000", "/dev/zero"}, nil)
	if err != nil || len(out) != maxOutput {
		t.Errorf("kept %d bytes, %v: expected %d", len(out), err, maxOutput)
	}
}

func TestFind(t *testing.T) {
	t.Setenv("PATH", "/nowhere")
	if got := Find("sh"); !strings.HasSuffix(got, "/sh") {
		t.Errorf("sh is at %q", got)
	}
	if got := Find("no-such-tool"); got != "" {
		t.Errorf("no-such-tool is at %q", got)
	}
	if got := Find("/etc/passwd"); got != "" {
		t.Errorf("a file that cannot be run was found: %q", got)
	}
}
