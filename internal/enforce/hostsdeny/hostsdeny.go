// Package hostsdeny blocks addresses with TCP wrappers: lines in
// /etc/hosts.deny, or in FreeBSD's /etc/hosts.allow, which services that are
// linked with libwrap (sshd on Debian, vsftpd, …) read at every connection.
//
// Our lines stand between two comments of ours at the top of the file:
//
//	# riposte blocks these; it changes no other line
//	ALL: 203.0.113.9
//	# riposte: end
//
// Only what stands between them, and is letter for letter what we would write,
// is ever taken away; every other byte of the file stays as it is, line ends of
// any kind and a missing last one included, so that a file whose last block is
// undone is the file that it was. At the top the lines also win in a
// hosts.allow, where the first match decides and FreeBSD's own file begins by
// allowing all.
//
// The file outlives a restart, and nothing in it ends by itself: undoing is the
// executor's.
//
// Source of the format: hosts_access(5), hosts_options(5).
package hostsdeny

// Name is how receipts call the mechanism.
const Name = "hosts.deny"
