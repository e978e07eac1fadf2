package all

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce"
)

// TestThisKernel chooses the firewall of a real kernel, in a network namespace
// of its own: the best one, and the next best without the rights to that.
func TestThisKernel(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: for a network namespace")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		for setting, want := range map[Firewall]string{Auto: "nftables", Nftables: "nftables", Iptables: "iptables"} {
			r := New(options(t, func(o *Options) { o.Firewall, o.Run = setting, enforce.Exec }))
			c := r.Choose(command("firewall-drop.sh"))
			switch {
			case c.Err != nil && setting == Iptables && enforce.Find("iptables") == "":
				t.Log("iptables is missing: apt-get install iptables")
			case c.Err != nil:
				t.Errorf("setting %d: %v", setting, c.Err)
			case c.Mechanism.Name() != want || !strings.Contains(c.Why, "riposte's own"):
				t.Errorf("setting %d: chosen %s because %q, expected %s", setting, c.Mechanism.Name(), c.Why, want)
			}
			if err := r.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	}()
	<-done
}
