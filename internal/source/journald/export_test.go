package journald

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"riposte/internal/source/lines"
)

// blob writes a field with its length before it.
func blob(name, value string) string {
	var size [8]byte
	binary.LittleEndian.PutUint64(size[:], uint64(len(value)))
	return name + "\n" + string(size[:]) + value + "\n"
}

const cursor = "__CURSOR=s=1;i=1\n"

func TestExportToLine(t *testing.T) {
	now := time.Date(2026, 11, 3, 6, 0, 0, 0, time.Local)
	stamp := "__REALTIME_TIMESTAMP=" + "1763871600000001\n"
	at := time.UnixMicro(1763871600000001).Local().Format(time.Stamp)
	f := func(fields, want string) {
		t.Helper()
		for _, r := range []io.Reader{strings.NewReader(cursor + fields + "\n"), iotest.OneByteReader(strings.NewReader(cursor + fields + "\n"))} {
			e, err := newExportReader(r, nil).next()
			if err != nil {
				t.Fatal(err)
			}
			if got := e.line("here", now); got != want || e.cursor != "s=1;i=1" {
				t.Errorf("got %q, cursor %q, want %q", got, e.cursor, want)
			}
		}
	}
	f(stamp+"_HOSTNAME=web1\nSYSLOG_IDENTIFIER=sshd\n_PID=42\nMESSAGE=hello there\n", at+" web1 sshd[42]: hello there")
	f("MESSAGE=hello\n", "Nov  3 06:00:00 here hello")
	f(stamp+"_SOURCE_REALTIME_TIMESTAMP=1763871661000000\n_COMM=su\nMESSAGE=x=y\n",
		time.UnixMicro(1763871661000000).Local().Format(time.Stamp)+" here su: x=y")
	f(stamp+"_COMM=python3\nSYSLOG_IDENTIFIER=my app\nSYSLOG_PID=7\n_PID=8\nMESSAGE=m\n", at+" here my_app[7]: m")
	f(stamp+"SYSLOG_IDENTIFIER=a\nSYSLOG_PID=7]: forged\n_PID=8\nMESSAGE=m\n", at+" here a[8]: m")
	// Nobody gets a second line, or a header of his own, past us.
	f(stamp+blob("MESSAGE", "one\nNov 23 06:00:00 web1 sshd[1]: two\r\x00\x1b[m")+blob("SYSLOG_IDENTIFIER", "a\nb"),
		at+" here a#012b: one#012Nov 23 06:00:00 web1 sshd[1]: two#015#000#033[m")
	f(stamp+blob("MESSAGE", "\n\nMESSAGE=x\n\n__CURSOR=forged\n")+"_COMM=c\n",
		at+" here c: #012#012MESSAGE=x#012#012__CURSOR=forged#012")
	f(stamp+"MESSAGE=first\nMESSAGE=second\n__CURSOR=forged\n", at+" here first")
	f(stamp+blob("OTHER", strings.Repeat("x", 1<<20))+"ALSO="+strings.Repeat("y", 1<<20)+"\nMESSAGE=m\n", at+" here m")
	f(stamp+blob("MESSAGE", "")+"MESSAGE=late\n", at+" here ")
}

func TestExportCutsLongMessages(t *testing.T) {
	f := func(field string, size int, cut bool) {
		t.Helper()
		e, err := newExportReader(strings.NewReader(cursor+field+"\n"+cursor+"MESSAGE=next\n\n"), nil).next()
		if err != nil || len(e.message) != size || e.cut != cut {
			t.Errorf("%d bytes, cut %v, %v", len(e.message), e.cut, err)
		}
	}
	f("MESSAGE="+strings.Repeat("x", lines.Max)+"\n", lines.Max, false)
	f("MESSAGE="+strings.Repeat("x", lines.Max+1)+"\n", lines.Max, true)
	f("MESSAGE="+strings.Repeat("x", 3<<20)+"\n", lines.Max, true)
	f(blob("MESSAGE", strings.Repeat("\n", lines.Max)), lines.Max, false)
	f(blob("MESSAGE", strings.Repeat("\n", 3<<20)), lines.Max, true)
}

func TestExportStream(t *testing.T) {
	r := newExportReader(strings.NewReader("\n"+cursor+"MESSAGE=1\n\n\n"+cursor+"MESSAGE=2\n\n"), nil)
	for _, want := range []string{"1", "2"} {
		if e, err := r.next(); err != nil || e.message != want {
			t.Fatalf("%v, %v", e, err)
		}
	}
	if _, err := r.next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestExportErrors(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := newExportReader(strings.NewReader(text), nil).next()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	f("MESSAGE=x\n\n", "without a cursor")
	f(cursor+"MESSAGE=x", "unexpected EOF")
	f(cursor+"MESSAGE\n\x03\x00", "unexpected EOF")
	f(cursor+"MESSAGE\n\x03\x00\x00\x00\x00\x00\x00\x00ab", "unexpected EOF")
	f(cursor+"MESSAGE\n\x01\x00\x00\x00\x00\x00\x00\x00ab\n", "instead of a newline")
	f(cursor+"MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xffab\n", "bytes")
	f("No journal files were found.\n", "not the name of a field")
	f(strings.Repeat("A", 1<<20), "not the name of a field")
	broken := newExportReader(iotest.ErrReader(errors.New("broken pipe")), nil)
	if _, err := broken.next(); err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("broken pipe: %v", err)
	}
}

func FuzzExport(f *testing.F) {
	f.Add([]byte(cursor + "MESSAGE=hello\n_PID=1\n\n" + cursor + blob("MESSAGE", "a\nb") + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newExportReader(bytes.NewReader(data), nil)
		for {
			e, err := r.next()
			if err != nil {
				return
			}
			line := e.line("here", time.Unix(0, 0))
			if len(e.message) > lines.Max || e.cursor == "" {
				t.Errorf("entry %+v", e)
			}
			for i := range len(line) {
				if line[i] < 0x20 || line[i] == 0x7f {
					t.Fatalf("control character in %q", line)
				}
			}
		}
	})
}

func BenchmarkExport(b *testing.B) {
	text := strings.Repeat(cursor+"__REALTIME_TIMESTAMP=1763871600000001\n__MONOTONIC_TIMESTAMP=1000001\n_BOOT_ID=0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e\n"+
		"_HOSTNAME=web1\nSYSLOG_IDENTIFIER=sshd\n_PID=42\n_COMM=sshd\nMESSAGE=Failed password for root from 192.0.2.7 port 4242 ssh2\n\n", 10000)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		r := newExportReader(strings.NewReader(text), nil)
		for {
			e, err := r.next()
			if err != nil {
				break
			}
			if len(e.line("here", time.Time{})) == 0 {
				b.Fatal("empty line")
			}
			n++
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
}
