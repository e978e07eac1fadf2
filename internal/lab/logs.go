package lab

import (
	"fmt"
	"net/netip"
	"time"
)

// SSHLine is a line of sshd under rsyslog's traditional header, as Debian wrote
// it to auth.log: the stamp has no year and a day padded with a blank.
func SSHLine(at time.Time, host string, pid int, message string) string {
	return fmt.Sprintf("%s %s sshd[%d]: %s", at.Format(time.Stamp), host, pid, message)
}

// FailedPassword is what sshd says of a wrong password; known says whether the
// account exists.
func FailedPassword(user string, known bool, from netip.AddrPort) string {
	if !known {
		user = "invalid user " + user
	}
	return fmt.Sprintf("Failed password for %s from %s port %d ssh2", user, from.Addr(), from.Port())
}

// InvalidUser is what sshd says of a login name that does not exist.
func InvalidUser(user string, from netip.AddrPort) string {
	return fmt.Sprintf("Invalid user %s from %s port %d", user, from.Addr(), from.Port())
}

// AcceptedPassword is what sshd says of a login.
func AcceptedPassword(user string, from netip.AddrPort) string {
	return fmt.Sprintf("Accepted password for %s from %s port %d ssh2", user, from.Addr(), from.Port())
}

// AccessLine is a line of nginx's or apache's combined access log.
func AccessLine(at time.Time, from netip.Addr, request string, status int, agent string) string {
	return fmt.Sprintf("%s - - [%s] %q %d 153 \"-\" %q", from, at.Format("02/Jan/2006:15:04:05 -0700"), request, status, agent)
}
