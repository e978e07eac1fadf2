//go:build !linux && !darwin && !freebsd && !openbsd && !netbsd && !dragonfly

package script

import (
	"os"
	"time"
)

// usualGrace is how long a script may take to start, to read its line and to
// ask.
const usualGrace = 5 * time.Second

// unread is not told for pipes here: the grace then counts from the moment the
// line was written.
func unread(*os.File) int { return 0 }

// bootID is not known here: an effect is then taken to be in force after a
// restart of the machine too.
func bootID() string { return "" }
