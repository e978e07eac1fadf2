//go:build !linux

package script

import (
	"os"
	"os/exec"
)

// sandbox is a folder of its own from which the script runs, with the rights of
// whoever tries it: this system has no other walls that need no preparation.
type sandbox struct {
	kept, path, scratch string
}

func newSandbox(path string) (*sandbox, error) {
	scratch, err := os.MkdirTemp("", "riposte-script-")
	if err != nil {
		return nil, err
	}
	b := &sandbox{scratch: scratch, kept: "not kept from anything: this system has no namespaces; it ran from a folder of its own"}
	if b.path, err = copyScript(path, scratch); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *sandbox) start(cmd *exec.Cmd) error { return cmd.Start() }

func (b *sandbox) mark() string { return "RIPOSTE_SCRIPT_TEST=1" }

// sweep knows of no processes here.
func (b *sandbox) sweep() int { return 0 }

// trace knows of no files here.
func (b *sandbox) trace(string) []string { return nil }

func (b *sandbox) close() { os.RemoveAll(b.scratch) }
