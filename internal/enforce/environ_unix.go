//go:build !windows

package enforce

import (
	"os"
	"path/filepath"
	"strings"
)

// toolPath is where system tools live, whatever PATH riposte was started with.
const toolPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is all that a system tool gets to see: where to find its own
// helpers, and the language to speak.
func environment() []string {
	return []string{"PATH=" + toolPath, "LC_ALL=C"}
}

// Find returns the file of a system tool, or "" when this host has none.
func Find(tool string) string {
	if strings.Contains(tool, "/") {
		return executable(tool)
	}
	for dir := range strings.SplitSeq(toolPath, ":") {
		if file := executable(filepath.Join(dir, tool)); file != "" {
			return file
		}
	}
	return ""
}

func executable(file string) string {
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return ""
	}
	return file
}
