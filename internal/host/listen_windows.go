package host

import (
	"context"
	"errors"
	"net"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"
)

// administrators lets the system and its administrators do everything, and
// inherits nothing that would let in anybody else. (Unix sockets of Windows
// came late, and the mode of a file means nothing there.)
const administrators = "D:P(A;;GA;;;SY)(A;;GA;;;BA)"

// DialControl connects to what ListenControl listens on.
func DialControl(ctx context.Context, path string) (net.Conn, error) {
	return winio.DialPipeContext(ctx, path)
}

func listenControl(path string) (net.Listener, error) {
	l, err := winio.ListenPipe(path, &winio.PipeConfig{SecurityDescriptor: administrators})
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) { // the name is taken, and we are not to add to it
		err = ErrInUse
	}
	return l, err
}
