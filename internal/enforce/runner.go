package enforce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Runner runs a program to its end and returns what it printed. argv[0] is the
// program, looked for by Find; no shell ever sees the arguments. A program that ends with a status other than 0 is an error; what
// it printed is returned all the same. Mechanisms that drive a system's own
// tools are given a Runner, so that their exact commands can be recorded where
// the tool cannot run.
type Runner func(ctx context.Context, argv []string, stdin []byte) (stdout, stderr []byte, err error)

// The bounds on what Exec keeps of a program's output and on how long it waits
// for its pipes once the program is gone. A pf table of 100,000 addresses is
// listed in 2 MB.
const (
	maxOutput = 32 << 20
	pipeDelay = 2 * time.Second
)

// Exec is the Runner that really runs programs: with a clean environment (a
// fixed PATH and the C locale, since the tools' words are read back), killed
// when ctx ends. The error names the program and the first line it complained
// with.
func Exec(ctx context.Context, argv []string, stdin []byte) (stdout, stderr []byte, err error) {
	if len(argv) == 0 {
		return nil, nil, errors.New("run: no program named")
	}
	file := Find(argv[0])
	if file == "" {
		return nil, nil, fmt.Errorf("%s: %w", argv[0], exec.ErrNotFound)
	}
	var out, complaint bounded
	cmd := exec.CommandContext(ctx, file, argv[1:]...)
	cmd.Env = environment()
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.WaitDelay = pipeDelay
	err = cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n")
		if first != "" {
			err = fmt.Errorf("%s: %w: %s", argv[0], err, first)
		} else {
			err = fmt.Errorf("%s: %w", argv[0], err)
		}
	}
	return out.Bytes(), complaint.Bytes(), err
}

// bounded keeps the first maxOutput bytes and swallows the rest, so that a
// program which babbles is neither blocked nor believed without end. It holds
// its buffer by name: embedding it would hand io.Copy a ReadFrom without bound.
type bounded struct{ kept bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	b.kept.Write(p[:min(len(p), maxOutput-b.kept.Len())])
	return len(p), nil
}

func (b *bounded) Bytes() []byte  { return b.kept.Bytes() }
func (b *bounded) String() string { return b.kept.String() }
