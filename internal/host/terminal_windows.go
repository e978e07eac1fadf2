package host

import "golang.org/x/sys/windows"

// isTerminal asks for the mode of the console, which nothing else has.
func isTerminal(fd uintptr) bool {
	var mode uint32
	return windows.GetConsoleMode(windows.Handle(fd), &mode) == nil
}
