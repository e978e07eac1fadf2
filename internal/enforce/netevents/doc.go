// Package netevents hears what the kernel tells everybody over netlink: which
// routes and which parts of the ruleset somebody changed.
package netevents
