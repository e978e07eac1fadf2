package enforce

import (
	"os"
	"path/filepath"
	"strings"
)

// environment is all that a system tool gets to see. Windows' own tools do not
// start without SystemRoot.
func environment() []string {
	root := os.Getenv("SystemRoot")
	return []string{"SystemRoot=" + root, "PATH=" + root + `\System32;` + root}
}

// Find returns the file of a system tool, or "" when this host has none.
func Find(tool string) string {
	file := tool
	if !strings.ContainsAny(tool, `\/:`) {
		file = filepath.Join(os.Getenv("SystemRoot"), "System32", tool)
	}
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return file
}
