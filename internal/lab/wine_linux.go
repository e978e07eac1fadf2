package lab

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Wine is a Windows played by Wine, on a disk of its own.
type Wine struct {
	dir       string // WINEPREFIX
	loader    string
	overrides string // WINEDLLOVERRIDES
}

// NewWine installs a Windows. It takes a few seconds and 700 MB until the test
// ends. replaced are programs, such as netsh.exe, that the test puts in place
// of Wine's own.
func NewWine(t testing.TB, replaced ...string) *Wine {
	t.Helper()
	Need(t)
	w := &Wine{dir: filepath.Join(t.TempDir(), "wine"), overrides: "mscoree,mshtml,winemenubuilder.exe="} // nothing of a desktop
	for _, program := range replaced {
		w.overrides += ";" + program + "=n"
	}
	for _, loader := range []string{"wine64", "/usr/lib/wine/wine64", "wine"} { // Debian's wine64 is in no PATH
		if path, err := exec.LookPath(loader); err == nil {
			w.loader = path
			break
		}
	}
	if w.loader == "" {
		t.Skip("needs wine, which is not installed (Debian: wine64)")
	}
	t.Cleanup(func() { w.shutdown(t) })
	if out, err := w.Command("wineboot.exe", "--init").CombinedOutput(); err != nil {
		t.Fatalf("wineboot: %v\n%s", err, out)
	}
	// Go's runtime asks this library of Windows 10 for random bytes; Wine has it
	// from version 9 on.
	prng := w.Path(`C:\windows\system32\bcryptprimitives.dll`)
	if _, err := os.Stat(prng); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(prng, forwarder("bcryptprimitives.dll", "ProcessPrng", "advapi32.SystemFunction036"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// Path returns where a file of drive C is on this machine.
func (w *Wine) Path(windows string) string {
	rest, ok := strings.CutPrefix(windows, `C:\`)
	if !ok {
		panic("not on drive C: " + windows)
	}
	return filepath.Join(w.dir, "drive_c", strings.ReplaceAll(rest, `\`, "/"))
}

// Command returns a command that runs a Windows program. A signal to its
// process is one to the program.
func (w *Wine) Command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(w.loader, append([]string{program}, args...)...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "DISPLAY=") && !strings.HasPrefix(v, "WAYLAND_DISPLAY=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "WINEPREFIX="+w.dir, "HOME="+filepath.Dir(w.dir), "WINEDEBUG=-all", "WINEDLLOVERRIDES="+w.overrides)
	return cmd
}

// shutdown ends what runs in there and waits until it has, so that the disk can
// be taken away.
func (w *Wine) shutdown(t testing.TB) {
	for _, name := range []string{"wineserver64", "wineserver"} {
		server, err := exec.LookPath(filepath.Join(filepath.Dir(w.loader), name))
		if err != nil {
			continue
		}
		for _, option := range []string{"-k", "-w"} {
			cmd := exec.Command(server, option)
			cmd.Env = append(os.Environ(), "WINEPREFIX="+w.dir)
			_ = cmd.Run() // there is none left to end
		}
		return
	}
	t.Log("no wineserver beside " + w.loader)
}

// forwarder returns a library whose one function is another library's: an
// export table, and no code.
func forwarder(library, function, to string) []byte {
	const (
		address, page = 0x1000, 0x1000 // of the only section
		unit          = 0x200          // what sizes and offsets in the file are multiples of
	)
	// The directory, then for one function each a list of addresses, of names
	// and of numbers, then the texts.
	const addresses, names, numbers, texts = address + 40, address + 44, address + 48, address + 50
	var text bytes.Buffer
	place := func(s string) uint32 {
		at := texts + text.Len()
		text.WriteString(s + "\x00")
		return uint32(at)
	}
	put := func(b *bytes.Buffer, v any) { _ = binary.Write(b, binary.LittleEndian, v) } // into memory
	var exports bytes.Buffer
	put(&exports, []uint32{0, 0, 0, place(library), 1, 1, 1, addresses, names, numbers, place(to), place(function)})
	put(&exports, uint16(0))
	exports.Write(text.Bytes())

	options := pe.OptionalHeader64{
		Magic: 0x20b, ImageBase: 0x180000000, SectionAlignment: page, FileAlignment: unit, MajorOperatingSystemVersion: 6,
		MajorSubsystemVersion: 6, SizeOfInitializedData: unit, SizeOfImage: address + page, SizeOfHeaders: unit,
		Subsystem: pe.IMAGE_SUBSYSTEM_WINDOWS_CUI, NumberOfRvaAndSizes: 16,
		DllCharacteristics: pe.IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE | pe.IMAGE_DLLCHARACTERISTICS_NX_COMPAT,
	}
	size := uint32(exports.Len())
	options.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_EXPORT] = pe.DataDirectory{VirtualAddress: address, Size: size}
	var out bytes.Buffer
	dos := [64]byte{'M', 'Z', 0x3c: 64}
	out.Write(dos[:])
	out.WriteString("PE\x00\x00")
	put(&out, pe.FileHeader{
		Machine: pe.IMAGE_FILE_MACHINE_AMD64, NumberOfSections: 1, SizeOfOptionalHeader: uint16(binary.Size(options)),
		Characteristics: pe.IMAGE_FILE_EXECUTABLE_IMAGE | pe.IMAGE_FILE_LARGE_ADDRESS_AWARE | pe.IMAGE_FILE_DLL,
	})
	put(&out, options)
	put(&out, pe.SectionHeader32{
		Name: [8]uint8{'.', 'e', 'd', 'a', 't', 'a'}, VirtualSize: size, VirtualAddress: address, SizeOfRawData: unit,
		PointerToRawData: unit, Characteristics: pe.IMAGE_SCN_CNT_INITIALIZED_DATA | pe.IMAGE_SCN_MEM_READ,
	})
	out.Write(make([]byte, unit-out.Len()))
	out.Write(exports.Bytes())
	out.Write(make([]byte, 2*unit-out.Len()))
	return out.Bytes()
}
