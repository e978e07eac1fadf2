package host

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// administrators lets the system and its administrators do everything, and
// inherits nothing that would let in anybody else. (Unix sockets of Windows
// came late, and the mode of a file means nothing there.)
const administrators = "D:P(A;;GA;;;SY)(A;;GA;;;BA)"

// pipeBuffer is what a pipe holds; requests and most answers fit.
const pipeBuffer = 64 << 10

// DialControl connects to what ListenControl listens on.
func DialControl(ctx context.Context, path string) (net.Conn, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|windows.FILE_FLAG_OVERLAPPED, 0)
		if err == nil {
			return &pipeConn{f, pipeAddr(path)}, nil
		}
		if !errors.Is(err, windows.ERROR_PIPE_BUSY) {
			return nil, err
		}
		select { // the listener has not turned round yet
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// listenControl makes the first instance of the pipe. That it is the first, and
// so nobody else answers, is for Windows to see to.
func listenControl(path string) (net.Listener, error) {
	sd, err := windows.SecurityDescriptorFromString(administrators)
	if err != nil {
		return nil, err
	}
	l := &pipeListener{path: path}
	l.access = windows.SecurityAttributes{SecurityDescriptor: sd}
	l.access.Length = uint32(unsafe.Sizeof(l.access))
	l.waiting, err = l.instance(windows.FILE_FLAG_FIRST_PIPE_INSTANCE)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, ErrInUse
	case err != nil:
		return nil, err
	}
	return l, nil
}

// pipeListener always holds one instance of the pipe for the next client.
type pipeListener struct {
	path   string
	access windows.SecurityAttributes

	mu      sync.Mutex
	waiting windows.Handle
	closed  bool
}

func (l *pipeListener) instance(first uint32) (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString(l.path)
	if err != nil {
		return 0, err
	}
	return windows.CreateNamedPipe(name, windows.PIPE_ACCESS_DUPLEX|windows.FILE_FLAG_OVERLAPPED|first,
		windows.PIPE_TYPE_BYTE|windows.PIPE_REJECT_REMOTE_CLIENTS, windows.PIPE_UNLIMITED_INSTANCES, pipeBuffer, pipeBuffer, 0, &l.access)
}

// Accept waits for a client. One goroutine at a time may call it.
func (l *pipeListener) Accept() (net.Conn, error) {
	for {
		err := l.await()
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return nil, net.ErrClosed
		}
		h := l.waiting
		if errors.Is(err, windows.ERROR_NO_DATA) { // came and went
			err = windows.DisconnectNamedPipe(h)
			l.mu.Unlock()
			if err != nil {
				return nil, os.NewSyscallError("DisconnectNamedPipe", err)
			}
			continue
		}
		if err == nil {
			l.waiting, err = l.instance(0)
		}
		l.mu.Unlock()
		if err != nil {
			return nil, os.NewSyscallError("ConnectNamedPipe", err)
		}
		return &pipeConn{os.NewFile(uintptr(h), l.path), pipeAddr(l.path)}, nil
	}
}

// await waits until a client has connected to the waiting instance, or Close
// gives up waiting.
func (l *pipeListener) await() error {
	event, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(event) }()
	under := &windows.Overlapped{HEvent: event}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return net.ErrClosed
	}
	h := l.waiting
	err = windows.ConnectNamedPipe(h, under)
	l.mu.Unlock()
	if errors.Is(err, windows.ERROR_IO_PENDING) {
		var n uint32
		err = windows.GetOverlappedResult(h, under, &n, true)
	}
	if errors.Is(err, windows.ERROR_PIPE_CONNECTED) {
		err = nil
	}
	return err
}

// Close ends Accept. Connections that were accepted go on.
func (l *pipeListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	l.closed = true
	_ = windows.CancelIoEx(l.waiting, nil) // nobody may be waiting
	return windows.CloseHandle(l.waiting)
}

// Addr returns the name that clients dial.
func (l *pipeListener) Addr() net.Addr { return pipeAddr(l.path) }

// pipeConn is one end of a pipe.
type pipeConn struct {
	*os.File
	addr pipeAddr
}

func (c *pipeConn) LocalAddr() net.Addr  { return c.addr }
func (c *pipeConn) RemoteAddr() net.Addr { return c.addr }

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }
