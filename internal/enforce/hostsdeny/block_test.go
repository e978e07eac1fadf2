package hostsdeny

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
)

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, s := range texts {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a := netip.MustParseAddr(s)
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p)
	}
	return out
}

func TestLines(t *testing.T) {
	f := func(format Format, prefix, want string) {
		t.Helper()
		p := prefixes(prefix)[0]
		got := format.line(p)
		if got != want {
			t.Errorf("%s is %q, want %q", prefix, got, want)
		}
		if back, ok := format.parse(got); !ok || back != p {
			t.Errorf("%q is read as %v, %v", got, back, ok)
		}
	}
	f(Deny, "203.0.113.9", "ALL: 203.0.113.9")
	f(Deny, "2001:db8::1", "ALL: [2001:db8::1]")
	f(Deny, "198.51.100.0/24", "ALL: 198.51.100.0/255.255.255.0")
	f(Deny, "2001:db8::/64", "ALL: [2001:db8::]/64")
	f(Deny, "0.0.0.0/0", "ALL: 0.0.0.0/0.0.0.0")
	f(Deny, "::/0", "ALL: [::]/0")
	f(Allow, "203.0.113.9", "ALL : 203.0.113.9 : deny")
	f(Allow, "2001:db8::1", "ALL : [2001:db8::1] : deny")
	f(Allow, "198.51.100.0/24", "ALL : 198.51.100.0/255.255.255.0 : deny")
	f(Allow, "2001:db8::/64", "ALL : [2001:db8::]/64 : deny")

	for _, line := range []string{
		"", "ALL:203.0.113.9", "ALL: 203.0.113.9 ", " ALL: 203.0.113.9", "ALL: ALL", "ALL: 203.0.113", "ALL: .example.org",
		"sshd: 203.0.113.9", "ALL: 203.0.113.9/32", "ALL: 203.0.113.9/255.0.255.0", "ALL: 203.0.113.9/255.255.255.0",
		"ALL: 2001:db8::1", "ALL: [203.0.113.9]", "ALL: [2001:DB8::1]", "ALL: [2001:db8::1]/64", "ALL: [2001:db8::1]/128", "ALL: [2001:db8::]/",
		"ALL: 203.0.113.9 203.0.113.10", "ALL: 203.0.113.9 : deny", "all: 203.0.113.9", "ALL: 203.0.113.9\\", "ALL: [fe80::1%eth0]",
	} {
		if p, ok := Deny.parse(line); ok {
			t.Errorf("%q is taken for ours: %v", line, p)
		}
	}
	if p, ok := Allow.parse("ALL : 203.0.113.9"); ok {
		t.Errorf("an allowance is taken for ours: %v", p)
	}
}

// TestRestored: blocking and undoing leaves the very bytes that were there.
func TestRestored(t *testing.T) {
	for name, content := range map[string]string{
		"empty":            "",
		"usual":            "# /etc/hosts.deny: see hosts_access(5)\n#\nALL: PARANOID\n",
		"no last line end": "sshd: 192.0.2.0/255.255.255.0\nALL: 203.0.113.77",
		"CRLF":             "# made with notepad\r\nALL: 203.0.113.9\r\n",
		"blank lines":      "\n\n\nALL: 203.0.113.9\n\n",
		"OSSEC's":          "ALL:203.0.113.9\nALL:[2001:db8::1]\n",
		"same as ours":     "ALL: 203.0.113.9\nALL: [2001:db8::1]\n",
		"binary":           "\x00\xff\xfe\n\x00",
		"continued":        "ALL: 1.2.3.4 \\\n 5.6.7.8\n",
		"one long line":    "ALL: " + strings.Repeat("1.2.3.4 ", 50_000) + "\n",
	} {
		f := read(Deny, []byte(content))
		if len(f.blocked) != 0 {
			t.Errorf("%s: found %v", name, f.blocked)
		}
		for _, p := range prefixes("203.0.113.9", "2001:db8::1", "198.51.100.0/24") {
			f.add(p)
		}
		with := f.bytes()
		const block = begin + "\nALL: 203.0.113.9\nALL: [2001:db8::1]\nALL: 198.51.100.0/255.255.255.0\n" + end + "\n"
		if string(with) != block+content {
			t.Errorf("%s: with the block\n%q", name, with)
		}
		again := read(Deny, with)
		if !bytes.Equal(again.bytes(), with) {
			t.Errorf("%s: read and written again\n%q", name, again.bytes())
		}
		for _, p := range again.blocked {
			again.remove(p)
		}
		if got := again.bytes(); string(got) != content {
			t.Errorf("%s: restored as %q", name, got)
		}
	}
}

// TestMeddled: people edit the file, our block included.
func TestMeddled(t *testing.T) {
	f := func(name, content, blocked, others string) {
		t.Helper()
		got := read(Deny, []byte(content))
		var found []string
		for _, p := range got.blocked {
			found = append(found, Deny.line(p))
		}
		if strings.Join(found, "\n") != blocked {
			t.Errorf("%s: found\n%s\nwant\n%s", name, strings.Join(found, "\n"), blocked)
		}
		if rest := string(bytes.Join(got.others, nil)); rest != others {
			t.Errorf("%s: left\n%q\nwant\n%q", name, rest, others)
		}
	}
	const one, two = "ALL: 203.0.113.1", "ALL: 203.0.113.2"
	f("whole", begin+"\n"+one+"\n"+end+"\n"+two+"\n", one, two+"\n")
	f("foreign lines within", begin+"\n"+one+"\nsshd: ALL\n# why?\n"+two+"\n"+end+"\nx\n", one+"\n"+two, "sshd: ALL\n# why?\nx\n")
	f("end gone", begin+"\n"+one+"\n"+two+"\n# theirs\nALL: 203.0.113.3\n", one+"\n"+two, "# theirs\nALL: 203.0.113.3\n")
	f("begin gone", "ALL: 203.0.113.3\n# theirs\n"+one+"\n"+end+"\nx\n", one, "ALL: 203.0.113.3\n# theirs\nx\n")
	f("both gone", one+"\n"+two+"\n", "", one+"\n"+two+"\n")
	f("CRLF", strings.ReplaceAll(begin+"\n"+one+"\n"+end+"\nx\n", "\n", "\r\n"), one, "x\r\n")
	f("twice", begin+"\n"+one+"\n"+end+"\nx\n"+begin+"\n"+one+"\n"+two+"\n"+end+"\n", one+"\n"+two, "x\n")
	f("begun twice", begin+"\n"+one+"\nx\n"+begin+"\n"+two+"\n"+end+"\n", one+"\n"+two, "x\n")
	f("ended twice", begin+"\n"+one+"\n"+end+"\n"+two+"\n"+end+"\n", one+"\n"+two, "")
	f("only marks", end+"\n"+begin, "", "")
	f("moved behind", "x\n"+begin+"\n"+one+"\n"+end, one, "x\n")
}

// FuzzRead: whatever the file holds, reading loses no byte that is not ours, and
// what is written is read back the same.
func FuzzRead(f *testing.F) {
	f.Add([]byte(begin + "\nALL: 203.0.113.1\n" + end + "\nx"))
	f.Add([]byte("ALL: 203.0.113.1\r\n" + end + "\r\n" + begin + "\nALL: [::1]/128\nALL: [::]/0\n"))
	f.Add([]byte("\n\n\xff\\"))
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, format := range []Format{Deny, Allow} {
			first := read(format, content)
			written := first.bytes()
			again := read(format, written)
			if !bytes.Equal(again.bytes(), written) || len(again.blocked) != len(first.blocked) {
				t.Fatalf("read as\n%q\nthen as\n%q", written, again.bytes())
			}
			if !bytes.Equal(bytes.Join(first.others, nil), bytes.Join(again.others, nil)) {
				t.Fatalf("other lines became\n%q", bytes.Join(again.others, nil))
			}
			if len(first.blocked) == 0 && !bytes.Contains(content, []byte("# riposte")) && !bytes.Equal(written, content) {
				t.Fatalf("nothing of ours, but became\n%q", written)
			}
		}
	})
}
