package host

import (
	"os"

	"golang.org/x/sys/unix"
)

// EffectivePrivileges returns what this process may do now. Root without
// CAP_NET_ADMIN is what most containers give.
func EffectivePrivileges() Privileges {
	return Privileges{Root: os.Geteuid() == 0, NetAdmin: capable(unix.CAP_NET_ADMIN)}
}

func capable(capability uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}
