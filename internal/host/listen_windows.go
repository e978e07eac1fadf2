package host

import (
	"errors"

	"golang.org/x/sys/windows"
)

// refused reports whether err says that nobody listens.
func refused(err error) bool { return errors.Is(err, windows.WSAECONNREFUSED) }

// lockDir does nothing: Windows has no locks on directories.
func lockDir(string) (unlock func(), err error) { return func() {}, nil }
