//go:build linux

package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"riposte"
)

func fill(t testing.TB, j *Journal, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		commit(t, j, batch(t, n))
	}
}

func TestVerifyFindsEveryChange(t *testing.T) {
	for _, tt := range []struct{ name, sql, want string }{
		{"nothing", "", ""},
		{"a changed record", `UPDATE records SET line = CAST(replace(line, '198.51.0.5', '198.51.0.6') AS BLOB), target = 'address 198.51.0.6' WHERE seq = 6`, "record 7 does not follow record 6"},
		{"a removed record", `DELETE FROM records WHERE seq = 4`, "record 5 does not follow record 3"},
		{"removed first records", `DELETE FROM records WHERE seq < 4`, "the records before 4 are gone"},
		{"removed last records", `DELETE FROM records WHERE seq > 7`, "ends at record 7"},
		{"an added record", `INSERT INTO records SELECT 11, time, ord, target, CAST(replace(line, '"seq":10', '"seq":11') AS BLOB) FROM records WHERE seq = 10`, "record 11 does not follow record 10"},
		{"swapped records", `UPDATE records SET seq = 100 + 11 - seq; UPDATE records SET seq = seq - 100`, "says it is number"},
		{"a record filed elsewhere", `UPDATE records SET target = 'address 192.0.2.1' WHERE seq = 3`, "record 3 is filed under another"},
		{"a changed order", `UPDATE orders SET body = CAST(replace(body, 'rule 5712', 'rule 5713') AS BLOB) WHERE id = 'o000002'`, "the order o000002 was changed"},
		{"rubbish", `UPDATE records SET line = x'78' WHERE seq = 2`, "record 2 is not a record"},
		{"all removed", `DELETE FROM records`, "ends at record 0"},
		{"a changed mark", `UPDATE meta SET value = '99 00' WHERE key = 'head'`, "ends at record 10"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := open(t, Options{})
			fill(t, j, 0, 10)
			if tt.sql != "" {
				if _, err := j.conn.ExecContext(t.Context(), tt.sql); err != nil {
					t.Fatal(err)
				}
			}
			v, err := j.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case tt.want == "" && v.Fault != nil:
				t.Errorf("fault in a sound chain: %+v", v.Fault)
			case tt.want != "" && (v.Fault == nil || !strings.Contains(v.Fault.Text, tt.want)):
				t.Errorf("fault %+v, want %q", v.Fault, tt.want)
			}
		})
	}
}

func TestAnEmptyChainIsSound(t *testing.T) {
	if v, err := open(t, Options{}).Verify(t.Context()); err != nil || v.Fault != nil || v.Records != 0 {
		t.Errorf("verdict %+v %v", v, err)
	}
}

// The export can be checked with nothing but sha256sum.
func TestExportedLinesAreTheChain(t *testing.T) {
	j := open(t, Options{})
	fill(t, j, 0, 5)
	prev, n := "", 0
	err := j.Export(t.Context(), 0, func(seq int64, line []byte) error {
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if r.Prev != prev || r.Seq != seq {
			t.Errorf("record %d: prev %q, want %q", seq, r.Prev, prev)
		}
		sum := sha256.Sum256(line)
		prev = hex.EncodeToString(sum[:])
		n++
		return nil
	})
	if err != nil || n != 5 {
		t.Fatalf("%d lines, %v", n, err)
	}
	if v, err := j.Verify(t.Context()); err != nil || v.Head != prev {
		t.Errorf("head %q, want %q (%v)", v.Head, prev, err)
	}
}

func TestTheChainGoesOnAfterAReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	for n := range 3 {
		j, _ := openAt(t, path, Options{})
		fill(t, j, n*3, n*3+3)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	j, _ := openAt(t, path, Options{})
	if v, err := j.Verify(t.Context()); err != nil || v.Fault != nil || v.Records != 9 || v.First != 1 {
		t.Errorf("verdict %+v %v", v, err)
	}
}

func TestRetiredRecordsAreVouchedFor(t *testing.T) {
	j := open(t, Options{MaxRecords: 100})
	fill(t, j, 0, 50)
	b := &Batch{}
	for n := range 40 { // these are over, so that their orders may go
		b.Drop = append(b.Drop, order(n).Key())
	}
	commit(t, j, b)
	fill(t, j, 50, 200)
	if err := j.retire(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := j.Verify(t.Context())
	if err != nil || v.Fault != nil || v.Retired == nil {
		t.Fatalf("verdict %+v %v", v, err)
	}
	if v.Records > 115 || v.Records < 90 {
		t.Errorf("%d records kept, asked for 100", v.Records)
	}
	for n, want := range map[int]bool{0: false, 39: false, 40: true, 45: true, 199: true} {
		_, err := j.Order(t.Context(), order(n).ID)
		if (err == nil) != want {
			t.Errorf("order %d: %v; kept, want %v", n, err, want)
		}
	}
	// Removing more than was retired shows.
	if _, err := j.conn.ExecContext(t.Context(), "DELETE FROM records WHERE seq = (SELECT min(seq) FROM records)"); err != nil {
		t.Fatal(err)
	}
	if v, err := j.Verify(t.Context()); err != nil || v.Fault == nil {
		t.Errorf("a removed record passes for a retired one: %+v %v", v, err)
	}
}

func TestOldRecordsRetire(t *testing.T) {
	j := open(t, Options{MaxAge: time.Hour})
	old := receipt(1, riposte.Refused)
	old.Time = time.Now().Add(-2 * time.Hour)
	fresh := receipt(2, riposte.Refused)
	fresh.Time = time.Now()
	commit(t, j, &Batch{Records: []Record{old, fresh}})
	if err := j.retire(t.Context()); err != nil {
		t.Fatal(err)
	}
	rs, err := j.History(t.Context(), Filter{})
	if err != nil || len(rs) != 1 || rs[0].Order != "o000002" {
		t.Errorf("kept %+v %v", rs, err)
	}
	if v, err := j.Verify(t.Context()); err != nil || v.Fault != nil {
		t.Errorf("verdict %+v %v", v, err)
	}
}
