// Package quarantine answers with the removal of a file to where nobody but
// root can reach it, and gives it back just as it was.
//
// The quarantine is a folder that only root may enter. A file in it is a pair:
//
//	3a7bd3e2360a3d29eea436fc.0.json  where it came from, what it was like, why it is here
//	3a7bd3e2360a3d29eea436fc.0.file  the file itself
//
// The name is the beginning of the SHA-256 of the path, and a number for files
// that stood at one path after another.
//
// # A crash at any step
//
// leaves the file where it was, or a whole pair. The record goes to the disk
// first; then the file is renamed, which happens or does not. Where the
// quarantine is on another file system, the file is copied, the copy goes to
// the disk and takes its name, and only then the original goes: a crash in
// between leaves both, and the next Apply ends what was begun.
//
// # Who races us
//
// A path is walked folder by folder, and never through a symbolic link: whoever
// may write in one of the folders could otherwise make us move what he likes.
// For the same reason what was renamed is compared with what was looked at, and
// put back if it is something else. Only regular files are moved. A process
// that has the file open, or runs it, goes on doing so; other hard links to it
// stay, and the result says that there are some.
//
// Undo never overwrites: where a new file has taken the path, or the folder is
// gone, the file stays in the quarantine, released but not in force any more,
// and the result says where it is. Beside the new file it could do harm: in
// many folders whatever lies there is executed.
package quarantine

// Name is how receipts call the mechanism.
const Name = "quarantine"

// Options say where the quarantine is. Every zero value has a default.
type Options struct {
	Dir string // "" for /var/lib/riposte/quarantine; made if need be, for root alone
	// Protected are files, and folders with all that is in them, that are
	// refused whatever order says so; nil for Essential(). The quarantine and
	// riposte's own program always are.
	Protected []string
}

// Essential returns what no Linux host can be without for a moment, however
// wicked it has become.
func Essential() []string {
	return []string{
		"/boot", "/dev", "/proc", "/sys",
		"/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/sudoers", "/etc/pam.d", "/etc/security",
		"/etc/nsswitch.conf", "/etc/fstab", "/etc/crypttab", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
		"/usr/lib/systemd/systemd", "/usr/sbin/init", "/usr/bin/bash", "/usr/bin/dash", "/usr/bin/sh", "/usr/bin/mount", "/usr/sbin/sshd",
		"/usr/lib/ld-linux.so.2", "/usr/lib64/ld-linux-x86-64.so.2",
	}
}
