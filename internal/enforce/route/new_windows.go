package route

import (
	"fmt"
	"net"

	"riposte/internal/enforce"
	"riposte/internal/enforce/tool"
)

// New returns the null routes of this system, made by its tool.
func New(run enforce.Runner) (*tool.Mechanism, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("%s: looking for the loopback interface: %w", Name, err)
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback != 0 {
			return NewWindows(run, i.Index), nil
		}
	}
	return nil, fmt.Errorf("%s: this host has no loopback interface to lead them to", Name)
}
