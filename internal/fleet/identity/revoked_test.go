package identity

import (
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go/jetstream"
)

// A server that has not heard of a removal yet, or whose clock is ahead, still
// issues credentials for the key when the agent, or whoever has its token, asks
// again: they are worth nothing, whatever time they bear.
func TestCredentialsIssuedAfterTheRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := Init(t.TempDir()+"/authority", InitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, removed, err := NewKey()
		if err != nil {
			t.Fatal(err)
		}
		_, stays, err := NewKey()
		if err != nil {
			t.Fatal(err)
		}
		text, err := a.AccountJWT([]string{removed})
		if err != nil {
			t.Fatal(err)
		}
		account, err := jwt.DecodeAccountClaims(text)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			for key, want := range map[string]bool{removed: true, stays: false} {
				text, err := a.Agent("001", "web-01", key)
				if err != nil {
					t.Fatal(err)
				}
				user, err := jwt.DecodeUserClaims(text)
				if err != nil {
					t.Fatal(err)
				}
				if account.IsClaimRevoked(user) != want {
					t.Errorf("issued %s after the removal: revoked is %v", time.Since(time.Unix(account.IssuedAt, 0)), !want)
				}
			}
			time.Sleep(365 * 24 * time.Hour)
		}
	})
}

// What a server whose clock is ahead has removed, or has ended the grace of, is
// worth nothing for a server whose clock is right, too.
func TestAnotherClockRevokesAtOnce(t *testing.T) {
	tomorrow := time.Now().Add(24 * time.Hour)
	r := &Roster{
		log: slog.New(slog.DiscardHandler), records: map[string]Record{}, revision: map[string]uint64{},
		names: map[string]string{}, keys: map[string]string{}, grace: map[string]time.Time{},
	}
	for i, rec := range []Record{
		{ID: "001", Removed: tomorrow, Old: []OldKey{{Key: "removed", At: tomorrow}}},
		{ID: "002", Key: "new", Old: []OldKey{{Key: "confirmed", At: tomorrow}}},
		{ID: "003", Key: "newer", Old: []OldKey{{Key: "in grace", At: time.Now(), Until: time.Now().Add(Grace)}}},
	} {
		value, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		r.apply(rec.ID, value, uint64(i+1), jetstream.KeyValuePut)
	}
	got := r.Revoked()
	if slices.Sort(got); !slices.Equal(got, []string{"confirmed", "removed"}) {
		t.Errorf("revoked are %q", got)
	}
	if m := r.RevokedMark(); m.Grace != 1 {
		t.Errorf("%d keys are in grace", m.Grace)
	}
}
