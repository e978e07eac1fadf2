package host

import "os/exec"

// OwnGroup leaves cmd as it is: the end of its context kills the process alone.
func OwnGroup(*exec.Cmd) {}
