package script

import (
	"os"
	"path/filepath"
)

// copyScript copies the script into an installation of its own under dir.
func copyScript(path, dir string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "active-response", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	to := filepath.Join(bin, filepath.Base(path))
	return to, os.WriteFile(to, text, 0o755)
}
