//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"riposte"
)

const block = 64 << 10 // bytes that are read at a time

// feed reads lines and sends them in batches, as a source would; events > 0 says
// how many, and the file is read again until there are so many. clock tells their
// reception times.
func feed(name string, events int, clock func() time.Time, out chan<- riposte.Batch) (n int, bytes int64, err error) {
	for {
		f, err := os.Open(name)
		if err != nil {
			return n, bytes, err
		}
		before := n
		err = lines(f, clock, func(batch riposte.Batch, size int) bool {
			if events > 0 && n+len(batch.Events) > events {
				batch.Events = batch.Events[:events-n]
			}
			n += len(batch.Events)
			bytes += int64(size)
			out <- batch
			return events == 0 || n < events
		})
		f.Close()
		if err != nil || n >= events {
			return n, bytes, err
		}
		if n == before {
			return n, bytes, fmt.Errorf("%s holds no lines", name)
		}
	}
}

// lines cuts a file into batches of one block each.
func lines(r io.Reader, clock func() time.Time, send func(riposte.Batch, int) bool) error {
	var rest []byte
	for {
		buf := make([]byte, len(rest)+block)
		copy(buf, rest)
		n, err := io.ReadFull(r, buf[len(rest):])
		buf = buf[:len(rest)+n]
		end := strings.LastIndexByte(text(buf), '\n') + 1
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if last {
			end = len(buf)
		} else if err != nil {
			return err
		}
		now := clock()
		b := riposte.Batch{Events: make([]riposte.Event, 0, 512)}
		for s := text(buf[:end]); s != ""; {
			line, tail, _ := strings.Cut(s, "\n")
			s = tail
			if line != "" {
				b.Events = append(b.Events, riposte.Event{Time: now, Location: "/var/log/bench", Text: line})
			}
		}
		rest = buf[end:]
		if len(b.Events) > 0 && !send(b, end) || last {
			return nil
		}
	}
}

// text views a buffer that is never written again as a string.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// makeCorpus writes a corpus: all visible samples in random order, or an sshd
// under attack.
func makeCorpus(o *options) error {
	var source func(*rand.Rand) string
	switch o.make {
	case "mixed":
		samples, err := samples(o.stock)
		if err != nil {
			return err
		}
		source = func(r *rand.Rand) string { return samples[r.IntN(len(samples))] }
	case "sshd":
		source = bruteForce
	default:
		return fmt.Errorf("--make %q: expected mixed or sshd", o.make)
	}
	f, err := os.Create(o.output)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	rng := rand.New(rand.NewPCG(o.seed, 2))
	for range max(1, o.events) {
		w.WriteString(source(rng))
		w.WriteByte('\n')
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// samples returns the lines of all visible cases.
func samples(dir string) ([]string, error) {
	var out []string
	for _, d := range []string{"ossec", "wazuh"} {
		f, err := os.Open(filepath.Join(dir, d, "cases.jsonl"))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		for dec := json.NewDecoder(f); ; {
			var c struct{ Lines []string }
			if err := dec.Decode(&c); err == io.EOF {
				break
			} else if err != nil {
				return nil, err
			}
			for _, l := range c.Lines {
				if !strings.Contains(l, "\n") {
					out = append(out, l)
				}
			}
		}
	}
	return out, nil
}

// bruteForce is a line of an sshd that is being attacked from some hundred
// addresses.
func bruteForce(r *rand.Rand) string {
	head := fmt.Sprintf("Nov 23 %02d:%02d:%02d web-01 sshd[%d]: ", r.IntN(24), r.IntN(60), r.IntN(60), 1000+r.IntN(30000))
	ip := fmt.Sprintf("203.0.%d.%d", 112+r.IntN(2), 1+r.IntN(250))
	user := []string{"root", "admin", "oracle", "test", "ubuntu", "git", "postgres"}[r.IntN(7)]
	port := 1024 + r.IntN(60000)
	switch r.IntN(10) {
	case 0, 1, 2, 3:
		return fmt.Sprintf("%sFailed password for %s from %s port %d ssh2", head, user, ip, port)
	case 4, 5:
		return fmt.Sprintf("%sFailed password for invalid user %s from %s port %d ssh2", head, user, ip, port)
	case 6:
		return fmt.Sprintf("%sInvalid user %s from %s port %d", head, user, ip, port)
	case 7:
		return fmt.Sprintf("%spam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=%s  user=%s", head, ip, user)
	case 8:
		return fmt.Sprintf("%sConnection closed by authenticating user %s %s port %d [preauth]", head, user, ip, port)
	}
	return fmt.Sprintf("%sReceived disconnect from %s port %d:11: Bye Bye [preauth]", head, ip, port)
}
