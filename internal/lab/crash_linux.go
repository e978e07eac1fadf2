package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// stepsEnv tells a child that a crash may be waiting for it: descriptor 3 takes
// the names of its steps, descriptor 4 gives leave to go on.
const stepsEnv = "RIPOSTE_LAB_STEPS"

// Steps returns the hook that a process under KillAt calls at each of its
// numbered steps, and nil in every other process. The hook returns once the
// process is allowed to go on, which at the fatal step is never.
func Steps() func(step string) {
	if os.Getenv(stepsEnv) == "" {
		return nil
	}
	told, leave := os.NewFile(3, "steps"), os.NewFile(4, "leave")
	return func(step string) {
		if _, err := fmt.Fprintln(told, step); err != nil {
			os.Exit(3) // nobody watches: the test is gone
		}
		if _, err := io.ReadFull(leave, make([]byte, 1)); err != nil {
			os.Exit(3)
		}
	}
}

// KillAt runs cmd and kills it, as SIGKILL does, the nth time (from 1) that it
// reaches the named step, before it goes any further. It returns the steps that
// were reached, and whether the process was killed; a process that ends by
// itself was not. A failing process that was not killed fails the test.
func KillAt(t testing.TB, cmd *exec.Cmd, step string, nth int) (steps []string, killed bool) {
	t.Helper()
	stepsOut, stepsIn, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stepsOut.Close()
	leaveOut, leaveIn, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer leaveIn.Close()
	if len(cmd.ExtraFiles) > 0 {
		t.Fatal("KillAt needs descriptors 3 and 4 of the process")
	}
	cmd.ExtraFiles = []*os.File{stepsIn, leaveOut}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, stepsEnv+"=1")
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	err = cmd.Start()
	stepsIn.Close()
	leaveOut.Close()
	if err != nil {
		t.Fatalf("starting %s: %v", cmd.Path, err)
	}
	for in := bufio.NewScanner(stepsOut); in.Scan(); {
		steps = append(steps, in.Text())
		if in.Text() == step {
			if nth--; nth == 0 {
				killed = true
				if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Errorf("killing: %v", err)
				}
				break
			}
		}
		if _, err := leaveIn.Write([]byte{'\n'}); err != nil {
			break // it ended by itself
		}
	}
	if err := cmd.Wait(); err != nil && !killed {
		t.Fatalf("the process failed before step %q (reached: %s): %v", step, strings.Join(steps, ", "), err)
	}
	return steps, killed
}
