package api

import (
	"fmt"
	"net"

	"golang.org/x/sys/windows"
)

// peer names the account at the other end of a named pipe, for the audit.
func peer(conn net.Conn) string {
	pipe, ok := conn.(interface{ Fd() uintptr })
	if !ok {
		return ""
	}
	var pid uint32
	if windows.GetNamedPipeClientProcessId(windows.Handle(pipe.Fd()), &pid) != nil {
		return ""
	}
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return fmt.Sprintf("pid %d", pid)
	}
	defer func() { _ = windows.CloseHandle(process) }()
	var token windows.Token
	if windows.OpenProcessToken(process, windows.TOKEN_QUERY, &token) != nil {
		return fmt.Sprintf("pid %d", pid)
	}
	defer func() { _ = token.Close() }()
	u, err := token.GetTokenUser()
	if err != nil {
		return fmt.Sprintf("pid %d", pid)
	}
	account, domain, _, err := u.User.Sid.LookupAccount("")
	if err != nil {
		return fmt.Sprintf("%s (pid %d)", u.User.Sid, pid)
	}
	return fmt.Sprintf(`%s\%s (pid %d)`, domain, account, pid)
}
