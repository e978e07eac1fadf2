// Package conntrack deletes the entries of blocked addresses from the kernel's
// connection table. A drop rule stops their packets anyway; but a flowtable
// goes on forwarding the connections it was given until their entries are gone,
// and a firewall that lets "established" through must not have to be trusted
// again when a block ends.
package conntrack
