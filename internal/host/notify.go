package host

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// States that a service tells its manager, for Notify. See sd_notify(3).
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Alive    = "WATCHDOG=1"
)

// Status is a line about the service's state for people.
func Status(text string) string {
	return "STATUS=" + strings.ReplaceAll(text, "\n", " ")
}

// Notify tells the service manager that started this process the given states,
// all in one message. It does nothing when no manager asked to be told
// (NOTIFY_SOCKET is not set).
func Notify(states ...string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	// A leading @ means an abstract socket to package net as it does to systemd.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(strings.Join(states, "\n"))); err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	return nil
}

// NotifyReloading tells the service manager that a reload has begun, with the
// time stamp that Type=notify-reload asks for; Notify(Ready) ends it.
func NotifyReloading() error {
	return Notify("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(monotonic().Microseconds(), 10))
}

// WatchdogInterval returns within which time Notify(Alive) is expected again
// and again, 0 when nobody watches this process. Telling it at half the
// interval is the custom.
func WatchdogInterval() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}
