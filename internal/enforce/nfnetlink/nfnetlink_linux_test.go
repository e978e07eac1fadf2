package nfnetlink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"riposte/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

func TestRequest(t *testing.T) {
	var r Request
	for range 2 { // the second time in used memory
		r.Reset()
		r.Message(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_NEWSETELEM, unix.NLM_F_ACK, unix.NFPROTO_INET, 7)
		r.String(1, "riposte")
		outer := r.Nest(2)
		r.Uint8(3, 0xfe)
		r.Uint32(4, 0x01020304)
		inner := r.Nest(5)
		r.Uint64(6, 1<<40)
		r.End(inner)
		r.End(outer)
		r.Bytes(7, []byte{1, 2, 3, 4, 5})
		r.NativeUint32(8, 9)
		r.Message(0, unix.NFNL_MSG_BATCH_END, 0, 0, 10)
		r.number(100)
	}
	b := r.buf
	if n := binary.NativeEndian.Uint32(b); int(n) != len(b)-20 || binary.NativeEndian.Uint32(b[n:]) != 20 {
		t.Errorf("lengths %d and %d in %d bytes", n, binary.NativeEndian.Uint32(b[n:]), len(b))
	}
	if typ, flags, seq := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]), binary.NativeEndian.Uint32(b[8:]); typ != 0x0a0c || flags != 5 || seq != 100 {
		t.Errorf("header type %#x, flags %d, sequence %d", typ, flags, seq)
	}
	if seq := binary.NativeEndian.Uint32(b[len(b)-12:]); seq != 101 {
		t.Errorf("second message has sequence %d", seq)
	}
	if !bytes.Equal(b[16:20], []byte{unix.NFPROTO_INET, 0, 0, 7}) {
		t.Errorf("family and resource % x", b[16:20])
	}
	attrs := b[20 : len(b)-20]
	if s := Text(Find(attrs, 1)); s != "riposte" {
		t.Errorf("string %q", s)
	}
	outer := Find(attrs, 2)
	if got := []uint64{Uint(Find(outer, 3)), Uint(Find(outer, 4)), Uint(Find(Find(outer, 5), 6))}; got[0] != 0xfe || got[1] != 0x01020304 || got[2] != 1<<40 {
		t.Errorf("numbers %x", got)
	}
	if got := Find(attrs, 7); !bytes.Equal(got, []byte{1, 2, 3, 4, 5}) {
		t.Errorf("bytes % x", got)
	}
	if got := Find(attrs, 9); got != nil {
		t.Errorf("absent attribute % x", got)
	}
}

func TestConn(t *testing.T) {
	lab.Need(t)
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	generation := func() (gen uint64) {
		t.Helper()
		var r Request
		r.Message(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETGEN, unix.NLM_F_ACK, 0, 0)
		if err := c.Do(&r, func(m Message) { gen = Uint(Find(m.Attrs, unix.NFTA_GEN_ID)) }); err != nil {
			t.Fatal(err)
		}
		return gen
	}
	table := func(command uint8, generation uint32, name string) error {
		var r Request
		r.Begin(unix.NFNL_SUBSYS_NFTABLES, generation)
		r.Message(unix.NFNL_SUBSYS_NFTABLES, command, unix.NLM_F_CREATE, unix.NFPROTO_INET, 0)
		r.String(unix.NFTA_TABLE_NAME, "first")
		r.Message(unix.NFNL_SUBSYS_NFTABLES, command, unix.NLM_F_ACK|unix.NLM_F_CREATE, unix.NFPROTO_INET, 0)
		r.String(unix.NFTA_TABLE_NAME, name)
		r.Commit(unix.NFNL_SUBSYS_NFTABLES)
		return c.Do(&r, nil)
	}
	first := generation()
	if err := table(unix.NFT_MSG_NEWTABLE, uint32(first), "second"); err != nil {
		t.Fatal(err)
	}
	if gen := generation(); gen != first+1 {
		t.Errorf("generation %d after a transaction at %d", gen, first)
	}
	// A refusal names its message, and does not disturb what follows.
	err = table(unix.NFT_MSG_DELTABLE, 0, "third")
	var refused *Error
	if !errors.As(err, &refused) || refused.Message != 2 || !errors.Is(err, unix.ENOENT) {
		t.Errorf("deleting an absent table: %v", err)
	}
	if err := table(unix.NFT_MSG_DELTABLE, uint32(first), "second"); !errors.Is(err, unix.ERESTART) {
		t.Errorf("transaction at an old generation: %v", err)
	}
	if err := table(unix.NFT_MSG_DELTABLE, uint32(generation()), "second"); err != nil {
		t.Error(err)
	}
}

// FuzzAttributes: no bytes make the reader run over the end or for ever.
func FuzzAttributes(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 1, 2, 3, 4})
	f.Add([]byte{5, 0, 1, 0x80, 1})
	f.Add([]byte{0, 0, 1, 0})
	f.Add([]byte{255, 255, 1, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, total := 0, 0
		for _, value := range Attributes(b) {
			n++
			total += len(value) + unix.NLA_HDRLEN
			_ = Uint(value)
			_ = Text(value)
		}
		if n > len(b)/unix.NLA_HDRLEN || total > len(b) {
			t.Errorf("%d attributes of %d bytes in %d", n, total, len(b))
		}
	})
}
