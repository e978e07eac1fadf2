package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// private lets in the system, its administrators and the owner, to the folder
// and to all that is made in it. What a folder in C:\ProgramData inherits lets
// everybody put files into it.
const private = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)"

// PrivateDir makes a folder that only administrators get into, if it is not
// there yet. One that belongs to anybody else is not trusted: every account may
// make folders in C:\ProgramData.
func PrivateDir(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	sd, err := windows.SecurityDescriptorFromString(private)
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	err = windows.CreateDirectory(name, &windows.SecurityAttributes{SecurityDescriptor: sd})
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrExist):
		return &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return trusted(path)
}

// trusted reports that a folder belongs to somebody who is neither the system,
// nor its administrators, nor us.
func trusted(path string) error {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("whose folder is %s: %w", path, err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("whose folder is %s: %w", path, err)
	}
	if owner.IsWellKnown(windows.WinLocalSystemSid) || owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) {
		return nil
	}
	if me, err := windows.GetCurrentProcessToken().GetTokenUser(); err == nil && owner.Equals(me.User.Sid) {
		return nil
	}
	who := owner.String()
	if account, domain, _, err := owner.LookupAccount(""); err == nil {
		who = domain + `\` + account
	}
	return fmt.Errorf("%s belongs to %s, who is not an administrator: move it away", path, who)
}
