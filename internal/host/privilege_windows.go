package host

import "golang.org/x/sys/windows"

// EffectivePrivileges returns what this process may do now.
func EffectivePrivileges() Privileges {
	elevated := windows.GetCurrentProcessToken().IsElevated()
	return Privileges{Root: elevated, NetAdmin: elevated}
}
