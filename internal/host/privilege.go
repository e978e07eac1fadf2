package host

// Privileges is what this process may do to the host.
type Privileges struct {
	Root     bool // effective user 0; on Windows an elevated administrator
	NetAdmin bool // may change firewall and routes; on Linux CAP_NET_ADMIN
}
