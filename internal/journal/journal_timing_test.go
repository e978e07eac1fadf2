//go:build linux

package journal

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"riposte"
)

func realistic(n int) *riposte.Order {
	o := order(n)
	o.Target.Value = fmt.Sprintf("198.%d.%d.%d", n>>16&255, n>>8&255, n&255)
	o.Ladder = []time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour}
	o.Alert.Fields = []riposte.Field{{Name: "srcip", Value: o.Target.Value}, {Name: "dstuser", Value: "root"}, {Name: "srcport", Value: "51234"}}
	o.Alert.FullLog = "Nov 20 10:00:00 web-01 sshd[4242]: Failed password for root from " + o.Target.Value + " port 51234 ssh2"
	o.Alert.Rule.Groups = "syslog,sshd,authentication_failures,"
	o.Alert.Rule.Description = "sshd: brute force trying to get access to the system."
	o.Alert.Location = "/var/log/auth.log"
	return o
}

func intent(b *testing.B, n int) (*Entry, Response) {
	o := realistic(n)
	e, err := NewEntry(o, epoch)
	if err != nil {
		b.Fatal(err)
	}
	r := sample(n)
	r.Target, r.Phase, r.State = o.Target, Pending, ""
	return e, r
}

// BenchmarkIntent writes the intent of one order, encoding included.
func BenchmarkIntent(b *testing.B) {
	j := open(b, Options{})
	n := 0
	for b.Loop() {
		n++
		e, r := intent(b, n)
		commit(b, j, &Batch{Orders: []*Entry{e}, Put: []Response{r}})
	}
}

// BenchmarkIntentOnDisk waits for the disk, too.
func BenchmarkIntentOnDisk(b *testing.B) {
	j := open(b, Options{})
	n := 0
	for b.Loop() {
		n++
		e, r := intent(b, n)
		commit(b, j, &Batch{Orders: []*Entry{e}, Put: []Response{r}})
		if err := j.Sync(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBurst writes the intents of 10,000 orders, then their receipts.
func BenchmarkBurst(b *testing.B) {
	const burst = 10_000
	j := open(b, Options{})
	n := 0
	var intents, receipts time.Duration
	for b.Loop() {
		start := time.Now()
		in := &Batch{}
		for range burst {
			n++
			e, r := intent(b, n)
			in.Orders, in.Put = append(in.Orders, e), append(in.Put, r)
		}
		commit(b, j, in)
		intents += time.Since(start)
		start = time.Now()
		out := &Batch{Put: in.Put}
		for i := range in.Put {
			rec := receipt(n, riposte.Verified)
			rec.Receipt.Target, rec.Digest = in.Put[i].Target, in.Orders[i].Digest
			in.Put[i].Phase = Held
			out.Records = append(out.Records, rec)
			out.Offenders = append(out.Offenders, Offender{Key: in.Put[i].Key(), Count: 1, Last: epoch, Until: epoch})
		}
		commit(b, j, out)
		receipts += time.Since(start)
	}
	b.ReportMetric(float64(intents.Milliseconds())/float64(b.N), "ms/10k-intents")
	b.ReportMetric(float64(receipts.Milliseconds())/float64(b.N), "ms/10k-receipts")
}

// BenchmarkReopen opens a journal with 100,000 responses in force and loads them.
func BenchmarkReopen(b *testing.B) {
	const held = 100_000
	path := filepath.Join(b.TempDir(), "journal.db")
	j, _ := openAt(b, path, Options{})
	for n := 0; n < held; {
		in := &Batch{}
		for range 10_000 {
			e, r := intent(b, n)
			in.Orders, in.Put = append(in.Orders, e), append(in.Put, r)
			n++
		}
		commit(b, j, in)
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	var opening, loading time.Duration
	for b.Loop() {
		start := time.Now()
		j, rep := openAt(b, path, Options{})
		opening += time.Since(start)
		start = time.Now()
		n := 0
		if err := j.Load(b.Context(), func(*Response) error { n++; return nil }); err != nil || n != held {
			b.Fatal(n, err)
		}
		loading += time.Since(start)
		b.Log("unchecked:", rep.Unchecked, "bytes:", fileSize(path))
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(opening.Milliseconds())/float64(b.N), "ms/open")
	b.ReportMetric(float64(loading.Milliseconds())/float64(b.N), "ms/load")
}

// BenchmarkOffender looks a hundred up among a million.
func BenchmarkOffender(b *testing.B) {
	j := open(b, Options{})
	key := func(n int) riposte.Key {
		return riposte.Key{Command: "firewall-drop", Target: riposte.Target{Kind: riposte.Address, Value: fmt.Sprintf("%d.%d.%d.%d", n*7919>>24&255, n*7919>>16&255, n*7919>>8&255, n*7919&255)}}
	}
	const many = 1_000_000
	for n := 0; n < many; {
		in := &Batch{}
		for range 50_000 {
			in.Offenders = append(in.Offenders, Offender{Key: key(n), Count: 1, Last: epoch, Until: epoch})
			n++
		}
		commit(b, j, in)
	}
	n := 0
	for b.Loop() {
		q := Question{}
		for range 100 {
			n += 104_729
			q.Offenders = append(q.Offenders, key(n%many))
		}
		if f, err := j.Ask(q); err != nil || len(f.Offenders) != 100 {
			b.Fatal(len(f.Offenders), err)
		}
	}
}
