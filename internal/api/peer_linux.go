package api

import (
	"fmt"
	"net"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// peer names the account at the other end of a unix socket, for the audit.
func peer(conn net.Conn) string {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return conn.RemoteAddr().String()
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ""
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ""
	}
	uid := strconv.FormatUint(uint64(cred.Uid), 10)
	if acc, err := user.LookupId(uid); err == nil {
		return fmt.Sprintf("%s (uid %s, pid %d)", acc.Username, uid, cred.Pid)
	}
	return fmt.Sprintf("uid %s (pid %d)", uid, cred.Pid)
}
