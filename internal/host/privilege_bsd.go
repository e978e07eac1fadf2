//go:build unix && !linux

package host

import "os"

// EffectivePrivileges returns what this process may do now.
func EffectivePrivileges() Privileges {
	root := os.Geteuid() == 0
	return Privileges{Root: root, NetAdmin: root}
}
