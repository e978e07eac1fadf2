// Package nfnetlink speaks netfilter's netlink protocol over one lasting
// socket: requests are built into one buffer and answered one after the other.
// It knows messages and attributes, not what they mean; nftables sets, ipsets
// and connection tracking are spoken by the rooms that use it.
//
// It exists beside the libraries because bans are made in one microsecond each
// and read back by key, with flags (NLM_F_EXCL, a batch's generation) that
// google/nftables and vishvananda/netlink do not offer.
//
// Source of the format: include/uapi/linux/netlink.h and
// include/uapi/linux/netfilter/nfnetlink.h of Linux.
package nfnetlink
