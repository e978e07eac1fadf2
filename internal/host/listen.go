package host

import (
	"errors"
	"fmt"
	"net"
)

// ErrInUse means that another process answers on a control socket.
var ErrInUse = errors.New("another process answers on it")

// ListenControl listens at path for programs of root, or on Windows of the
// system and its administrators, and of nobody else: on a unix socket of mode
// 0600, on Windows on a named pipe, \\.\pipe\NAME. What a dead process left
// there is replaced; when one answers, the error is ErrInUse. Closing the
// listener removes what it made.
func ListenControl(path string) (net.Listener, error) {
	l, err := listenControl(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}
