package daemon

import (
	"context"

	"riposte/internal/audit"
)

// sendAudit sends the records of the journal to the syslog server that the
// settings name, if any.
func (d *Daemon) sendAudit(ctx context.Context) error {
	s := d.opt.Settings
	if s.Audit.Syslog == "" {
		return nil
	}
	return audit.Follow(ctx, audit.Options{Journal: d.journal, Address: s.Audit.Syslog, Host: s.HostName(), Log: d.log})
}
