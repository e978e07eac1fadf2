package file

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// errNotRegular means that a path leads to a device, a pipe or a directory.
var errNotRegular = errors.New("not a regular file")

// openLog opens a regular file for reading and says which one it is. Others may
// write, rename and delete it meanwhile.
func openLog(path string) (*os.File, fileID, fs.FileInfo, error) {
	f, err := openShared(path, windows.GENERIC_READ)
	if err != nil {
		return nil, fileID{}, nil, err
	}
	id, info, err := describe(f)
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "follow", Path: path, Err: errNotRegular}
	}
	if err != nil {
		_ = f.Close()
		return nil, fileID{}, nil, err
	}
	return f, id, info, nil
}

// identify says which file a path leads to.
func identify(path string) (fileID, fs.FileInfo, error) {
	f, err := openShared(path, 0)
	if err != nil {
		return fileID{}, nil, err
	}
	defer func() { _ = f.Close() }()
	return describe(f)
}

func openShared(path string, access uint32) (*os.File, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	h, err := windows.CreateFile(name, access, share, nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL|windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

func describe(f *os.File) (fileID, fs.FileInfo, error) {
	var by windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &by); err != nil {
		return fileID{}, nil, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	info, err := f.Stat()
	return fileID{dev: uint64(by.VolumeSerialNumber), ino: uint64(by.FileIndexHigh)<<32 | uint64(by.FileIndexLow)}, info, err
}
