//go:build linux

package mail

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"riposte/internal/enforce"
)

// TestOpenSMTPD mails through a real mail server, by SMTP and by its sendmail
// program, into a real mailbox. The server has its spool in a mount namespace
// of its own.
func TestOpenSMTPD(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to start a mail server")
	}
	for _, tool := range []string{"smtpd", "unshare", "nsenter", "sendmail"} {
		if enforce.Find(tool) == "" {
			t.Skipf("%s is missing: apt-get install opensmtpd util-linux", tool)
		}
	}
	dir, err := os.MkdirTemp("/tmp", "riposte-mail-") // short, and open to the server's users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	port := freePort(t)
	box := filepath.Join(dir, "box")
	conf := fmt.Sprintf(`listen on socket
listen on 127.0.0.1 port %d hostname mx.test
action "keep" maildir "%s" virtual { "@" = root } user nobody
match from any for any action "keep"
`, port, box)
	start := fmt.Sprintf(`mount --make-rprivate / && mount -t tmpfs spool /var/spool && mkdir -m 711 /var/spool/smtpd &&
mount -t tmpfs run /run && exec smtpd -d -f %s/smtpd.conf`, dir)
	wrapper := fmt.Sprintf("#!/bin/sh\nexec nsenter --target $(cat %s/pid) --mount %s \"$@\"\n", dir, enforce.Find("sendmail"))
	for _, f := range []struct {
		name, text string
		mode       os.FileMode
	}{{"smtpd.conf", conf, 0o600}, {"sendmail", wrapper, 0o755}} {
		if err := os.WriteFile(filepath.Join(dir, f.name), []byte(f.text), f.mode); err != nil {
			t.Fatal(err)
		}
	}
	os.Mkdir(box, 0o777)
	os.Chmod(box, 0o777)
	os.Chmod(dir, 0o755)

	var log bytes.Buffer
	server := exec.Command(enforce.Find("unshare"), "--mount", "sh", "-c", start)
	server.Stdout, server.Stderr = &log, &log
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	server.WaitDelay = 2 * time.Second
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-server.Process.Pid, syscall.SIGTERM)
		server.Wait()
		if t.Failed() {
			t.Logf("the server said:\n%s", log.String())
		}
	})
	os.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(server.Process.Pid)), 0o600)
	at := fmt.Sprintf("127.0.0.1:%d", port)
	for range 200 {
		if c, err := net.Dial("tcp", at); err == nil {
			c.Close()
			break
		}
		time.Sleep(25 * time.Millisecond)
	}

	for i, through := range []string{at, filepath.Join(dir, "sendmail")} {
		e := effect()
		e.Alert.FullLog = fmt.Sprintf("line %d\r\n.\r\nRCPT TO:<victim@mx.test>\r\n.leading dot", i)
		if r := apply(t, newMail(t, through), e); r.Err != nil {
			t.Fatalf("through %s: %v", through, r.Err)
		}
		mails := waitFor(t, filepath.Join(box, "new"), i+1)
		var found bool
		for _, text := range mails {
			_, subject, body := read(t, text)
			if strings.Contains(body, fmt.Sprintf("    line %d\n    .\n    RCPT TO:<victim@mx.test>\n    .leading dot\n", i)) &&
				strings.HasPrefix(subject, "[riposte] web-01.test: level 2, rule 1002") {
				found = true
			}
		}
		if !found {
			t.Errorf("through %s: not in the mailbox: %q", through, mails)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// waitFor waits until the folder holds n mails.
func waitFor(t *testing.T, dir string, n int) [][]byte {
	t.Helper()
	for range 400 {
		entries, _ := os.ReadDir(dir)
		if len(entries) >= n {
			var mails [][]byte
			for _, e := range entries {
				b, err := os.ReadFile(filepath.Join(dir, e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				mails = append(mails, b)
			}
			return mails
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("%s does not hold %d mails", dir, n)
	return nil
}
