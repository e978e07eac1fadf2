package script

import (
	"path/filepath"
	"runtime"
	"strings"
)

// batchSpecial are the characters that cmd.exe gives a meaning to in the
// arguments of a batch file, some of them even between quotes.
const batchSpecial = "\"%!&|<>^\r\n"

// arguments are a program's arguments as it can be given them on a system.
// Windows starts a batch file with a command line that cmd.exe reads once more,
// and there is no way to quote for it: what would have a meaning becomes _.
func arguments(system, path string, args []string) []string {
	ext := strings.ToLower(filepath.Ext(path))
	if system != "windows" || ext != ".cmd" && ext != ".bat" {
		return args
	}
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = strings.Map(func(r rune) rune {
			if strings.ContainsRune(batchSpecial, r) {
				return '_'
			}
			return r
		}, a)
	}
	return out
}

func (c *call) arguments() []string { return arguments(runtime.GOOS, c.path, c.args) }
