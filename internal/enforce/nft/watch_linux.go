package nft

import (
	"context"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce"
	"riposte/internal/enforce/netevents"
	"riposte/internal/enforce/nfnetlink"
)

var _ enforce.Watcher = (*Mechanism)(nil)

// Watch calls changed when somebody else changed our table: flushed it, deleted
// it, or took an element out. It listens in the network namespace of the calling
// thread.
func (m *Mechanism) Watch(ctx context.Context, changed func()) error {
	return netevents.Listen(ctx, unix.NETLINK_NETFILTER, []int{unix.NFNLGRP_NFTABLES}, func(e netevents.Event) {
		if byOthers(e, m.kernel.conn.Port()) {
			changed()
		}
	})
}

// byOthers reports whether an event is about our table and not of our making.
// When events were lost it may be. What makes and mends the table goes over
// other sockets, and counts as foreign: one look more.
func byOthers(e netevents.Event, own uint32) bool {
	const family = 4 // of nfgenmsg: family, version, resource
	switch {
	case e.Type == 0:
		return true
	case e.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || e.Port == own || len(e.Body) < family:
		return false
	case uint8(e.Type) == unix.NFT_MSG_NEWGEN: // the end of a transaction
		return false
	}
	// The first attribute of everything in a table is the table's name.
	return e.Body[0] == unix.NFPROTO_INET && nfnetlink.Text(nfnetlink.Find(e.Body[family:], unix.NFTA_TABLE_NAME)) == tableName
}
