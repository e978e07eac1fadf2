package script

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFind(t *testing.T) {
	h := newHome(t).write("good", "#!/bin/sh\n").write("writable", "#!/bin/sh\n").write("plain", "#!/bin/sh\n")
	outside := filepath.Join(h.root, "outside")
	for _, err := range []error{
		os.Chmod(filepath.Join(h.bin(), "writable"), 0o757),
		os.Chmod(filepath.Join(h.bin(), "plain"), 0o644),
		os.WriteFile(outside, []byte("#!/bin/sh\n"), 0o755),
		os.Symlink("good", filepath.Join(h.bin(), "inside-link")),
		os.Symlink("../../outside", filepath.Join(h.bin(), "up-link")),
		os.Symlink("/bin/sh", filepath.Join(h.bin(), "absolute-link")),
		os.Mkdir(filepath.Join(h.bin(), "folder"), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r := h.runner()
	for _, name := range []string{"good", "inside-link"} {
		if path, err := r.Find(name); err != nil || path != filepath.Join(h.bin(), name) {
			t.Errorf("%s: %q, %v", name, path, err)
		}
	}
	tests := []struct{ name, says string }{
		{"", "no executable"},
		{".", "must be the name"},
		{"..", "must be the name"},
		{"../outside", "must be the name"},
		{"folder/x", "must be the name"},
		{`a\b`, "must be the name"},
		{"/bin/sh", "must be the name"},
		{"!good", "must be the name"},
		{"-x", "must be the name"},
		{"a\nb", "control character"},
		{"a\x00b", "control character"},
		{"missing", "no such script"},
		{"writable", "written by everybody"},
		{"plain", "not executable"},
		{"folder", "not a regular file"},
		{"up-link", "refused"},
		{"absolute-link", "refused"},
	}
	for _, tt := range tests {
		path, err := r.Find(tt.name)
		if err == nil {
			t.Errorf("%q was found: %s", tt.name, path)
			continue
		}
		want(t, err, tt.says)
		if got := errors.Is(err, ErrNoScript); got != (tt.name == "missing") {
			t.Errorf("%q: missing: %v", tt.name, got)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(h.bin(), "good"), 12345, 0); err != nil {
			t.Fatal(err)
		}
		_, err := r.Find("good")
		want(t, err, "user id 12345")
	}
	if _, err := h.runner(func(o *Options) { o.Dir = filepath.Join(h.root, "none") }).Find("x"); !errors.Is(err, ErrNoScript) {
		t.Errorf("a folder that is not there: %v", err)
	}
	if _, err := h.runner(func(o *Options) { o.Dir = "" }).Find("x"); !errors.Is(err, ErrNoScript) {
		t.Errorf("no folder: %v", err)
	}
	if err := os.Chmod(h.bin(), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := r.Find("inside-link")
	want(t, err, "folder", "written by everybody")
}

func TestPin(t *testing.T) {
	const text = "#!/bin/sh\necho hello\n"
	sum := sha256.Sum256([]byte(text))
	h := newHome(t).write("s", text)
	r := h.runner(func(o *Options) { o.Pins = map[string]string{"s": hex.EncodeToString(sum[:])} })
	must(t, apply(t, r, effect(t, "s", "192.0.2.7")))
	h.write("s", text+"rm -rf /tmp/nothing\n")
	want(t, apply(t, r, effect(t, "s", "192.0.2.7")).Err, "not the file that was pinned")
}
