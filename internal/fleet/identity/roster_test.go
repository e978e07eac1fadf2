package identity_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/fleet"
	"riposte/internal/fleet/broker"
	"riposte/internal/fleet/identity"
	"riposte/internal/lab"
)

// place is an embedded broker that can be stopped and started again.
type place struct {
	*identity.Authority
	dir string
	b   *broker.Broker
}

func newPlace(t *testing.T) *place {
	t.Helper()
	a, _ := newAuthority(t)
	p := &place{Authority: a, dir: filepath.Join(t.TempDir(), "broker")}
	p.start(t)
	t.Cleanup(func() { p.b.Close() })
	return p
}

func (p *place) start(t *testing.T) {
	t.Helper()
	var err error
	p.b, err = broker.Start(context.Background(), broker.Options{
		Authority: p.Authority, Listen: "127.0.0.1:0", StoreDir: p.dir, Log: slog.New(slog.DiscardHandler),
	})
	ok(t, err)
}

// js connects a server of its own.
func (p *place) js(t *testing.T) jetstream.JetStream {
	t.Helper()
	user, err := p.ServerOptions()
	ok(t, err)
	nc, err := nats.Connect(p.b.URL(), append(user, p.b.Options()...)...)
	ok(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	ok(t, err)
	return js
}

func (p *place) roster(t *testing.T) *identity.Roster {
	t.Helper()
	r, err := identity.NewRoster(t.Context(), p.js(t), 1, slog.New(slog.DiscardHandler))
	ok(t, err)
	return r
}

func (p *place) tokens(t *testing.T) *identity.Tokens {
	t.Helper()
	tokens, err := identity.NewTokens(t.Context(), p.js(t), 1)
	ok(t, err)
	return tokens
}

func newKey(t testing.TB) string {
	t.Helper()
	_, key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func refusedAs(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%v, expected: %v", err, want)
	}
}

func TestRosterAcrossRestart(t *testing.T) {
	p, ctx := newPlace(t), t.Context()
	r := p.roster(t)
	keys := map[string]string{}
	for i, name := range []string{"web-01", "web-02", "db.1"} {
		key := newKey(t)
		rec, err := r.Add(ctx, name, []string{"b", "a", "b"}, key)
		ok(t, err)
		if want := fmt.Sprintf("%03d", i+1); rec.ID != want || fmt.Sprint(rec.Groups) != "[a b]" || rec.Address != "any" {
			t.Errorf("%+v, expected id %s", rec, want)
		}
		keys[rec.ID] = key
	}
	_, err := r.Add(ctx, "web-01", nil, newKey(t))
	refusedAs(t, err, identity.ErrNameTaken)
	_, err = r.Add(ctx, "other", nil, keys["001"])
	refusedAs(t, err, identity.ErrKey)
	_, err = r.Add(ctx, "other", nil, "no key")
	refusedAs(t, err, identity.ErrKey)
	for _, name := range []string{"", "x", "all", "12", "a b", "a/b", "ä-1", "x\n", strings.Repeat("x", 129)} {
		_, err = r.Add(ctx, name, nil, newKey(t))
		refusedAs(t, err, identity.ErrName)
	}
	again, err := r.Add(ctx, "web-02", nil, keys["002"])
	ok(t, err)
	if again.ID != "002" {
		t.Errorf("the same again is %s", again.ID)
	}

	removed, err := r.Remove(ctx, "003")
	ok(t, err)
	if removed.Removed.IsZero() || removed.Key != "" || removed.Old[0].Key != keys["003"] {
		t.Errorf("%+v", removed)
	}
	_, err = r.Remove(ctx, "003")
	refusedAs(t, err, identity.ErrNoAgent)
	_, err = r.Remove(ctx, "999")
	refusedAs(t, err, identity.ErrNoAgent)
	if _, err := r.Describe(ctx, "001", []string{"edge"}, map[string]string{"rack": "4"}); err != nil {
		t.Fatal(err)
	}

	p.b.Close()
	p.start(t)
	r = p.roster(t)
	if got := r.Revoked(); len(got) != 1 || got[0] != keys["003"] {
		t.Errorf("revoked after the restart: %v", got)
	}
	rec, known := r.Get("003")
	if !known || rec.Removed.IsZero() {
		t.Errorf("%+v %v", rec, known)
	}
	if rec, _ := r.Get("001"); rec.Labels["rack"] != "4" || rec.Groups[0] != "edge" {
		t.Errorf("%+v", rec)
	}
	_, err = r.Add(ctx, "back", nil, keys["003"])
	refusedAs(t, err, identity.ErrKey) // a key that was revoked does not come back
	next, err := r.Add(ctx, "db.1", nil, newKey(t))
	ok(t, err)
	if next.ID != "004" {
		t.Errorf("the removed agent's name has id %s, expected a new one", next.ID)
	}
	if by, ok := r.ByName("db.1"); !ok || by.ID != "004" {
		t.Errorf("%+v", by)
	}
	var ids []string
	for _, rec := range r.List() {
		ids = append(ids, rec.ID)
	}
	if strings.Join(ids, " ") != "001 002 003 004" {
		t.Error(ids)
	}
}

// TestRosterManyServers has several servers enrol at once, each with a roster of
// its own that nobody keeps current.
func TestRosterManyServers(t *testing.T) {
	p := newPlace(t)
	const servers, each = 4, 25
	var all sync.WaitGroup
	var mu sync.Mutex
	ids, sameName := map[string]int{}, 0
	rosters := make([]*identity.Roster, servers)
	for i := range rosters {
		rosters[i] = p.roster(t)
	}
	for i, r := range rosters {
		all.Go(func() {
			for n := range each {
				rec, err := r.Add(t.Context(), fmt.Sprintf("host-%d-%d", i, n), nil, newKey(t))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				ids[rec.ID]++
				mu.Unlock()
			}
			switch _, err := r.Add(t.Context(), "the-same", nil, newKey(t)); {
			case err == nil:
				mu.Lock()
				sameName++
				mu.Unlock()
			case !errors.Is(err, identity.ErrNameTaken):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(ids) != servers*each {
		t.Errorf("%d ids for %d agents", len(ids), servers*each)
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("id %s was given %d times", id, n)
		}
	}
	if sameName != 1 {
		t.Errorf("one name was given %d times", sameName)
	}
}

func TestRosterWatch(t *testing.T) {
	p := newPlace(t)
	here, there := p.roster(t), p.roster(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- there.Watch(ctx) }()
	key := newKey(t)
	rec, err := here.Add(ctx, "web-01", nil, key)
	ok(t, err)
	lab.Until(t, "the other server to know", func() bool { _, ok := there.Get(rec.ID); return ok })
	mark := there.RevokedMark()
	_, err = here.Remove(ctx, rec.ID)
	ok(t, err)
	lab.Until(t, "the other server to know of the removal", func() bool { return there.RevokedMark() != mark })
	if !slices.Contains(there.Revoked(), key) {
		t.Error("the mark changed, the keys did not")
	}
	if _, ok := there.ByName("web-01"); ok {
		t.Error("the removed agent still has its name")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRotation(t *testing.T) {
	p, ctx := newPlace(t), t.Context()
	r := p.roster(t)
	first, second, third := newKey(t), newKey(t), newKey(t)
	rec, err := r.Add(ctx, "web-01", nil, first)
	ok(t, err)
	_, err = r.Rotate(ctx, rec.ID, second)
	refusedAs(t, err, identity.ErrNotAsked)
	if _, err = r.AskRotation(ctx, rec.ID); err != nil {
		t.Fatal(err)
	}
	rec, err = r.Rotate(ctx, rec.ID, second)
	ok(t, err)
	again, err := r.Rotate(ctx, rec.ID, second) // the answer was lost
	ok(t, err)
	if rec.Key != second || again.Key != second || len(again.Old) != 1 {
		t.Errorf("%+v", again)
	}
	_, err = r.Rotate(ctx, rec.ID, third) // asked once, brought once
	refusedAs(t, err, identity.ErrNotAsked)
	if got := r.Revoked(); len(got) != 0 {
		t.Errorf("the old key is revoked before the answer can have arrived: %v", got)
	}
	mark := r.RevokedMark()
	_, err = r.Confirm(ctx, rec.ID)
	ok(t, err)
	if !slices.Contains(r.Revoked(), first) || r.RevokedMark() == mark {
		t.Error("the new key was seen at work, and the old one still counts")
	}
	// Nobody takes over a key of the past.
	other, err := r.Add(ctx, "web-02", nil, third)
	ok(t, err)
	_, err = r.AskRotation(ctx, other.ID)
	ok(t, err)
	_, err = r.Rotate(ctx, other.ID, first)
	refusedAs(t, err, identity.ErrKey)
	// Whoever is removed has no grace.
	_, err = r.Rotate(ctx, other.ID, newKey(t))
	ok(t, err)
	_, err = r.Remove(ctx, other.ID)
	ok(t, err)
	if got := r.Revoked(); len(got) != 3 {
		t.Errorf("%d keys are revoked, expected 3", len(got))
	}
}

// issue makes a token and returns it as its holder has it.
func issue(t *testing.T, p *place, tokens *identity.Tokens, r *identity.Roster, name string) identity.Token {
	t.Helper()
	text, _, err := tokens.Issue(t.Context(), p.Authority, r, identity.IssueOptions{
		Name: name, Groups: []string{"web"}, For: time.Hour, By: "root", URLs: []string{p.b.URL()},
	})
	ok(t, err)
	token, err := identity.ParseToken(text)
	ok(t, err)
	return token
}

func prove(t *testing.T, token identity.Token, key string) string {
	t.Helper()
	proof, err := token.Proof(key)
	ok(t, err)
	return proof
}

func TestTokenIsForOneKey(t *testing.T) {
	p, ctx := newPlace(t), t.Context()
	r, tokens := p.roster(t), p.tokens(t)
	token := issue(t, p, tokens, r, "web-01")
	key := newKey(t)

	// Who knows the id of a token does not hold it.
	for name, proof := range map[string]string{
		"the id": token.ID, "nothing": "", "a dot": token.ID + ".", "noise": token.ID + ".AAAA",
		"a proof for another key": prove(t, token, newKey(t)),
		"another token's proof":   token.ID + strings.TrimLeft(prove(t, issue(t, p, tokens, r, "web-09"), key), "abcdefghijklmnopqrstuvwxyz234567"),
	} {
		if _, _, err := tokens.Redeem(ctx, r, proof, key); !errors.Is(err, identity.ErrTokenProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	rec, fresh, err := tokens.Redeem(ctx, r, prove(t, token, key), key)
	ok(t, err)
	if !fresh || rec.ID != "001" || rec.Name != "web-01" || rec.Key != key || rec.Groups[0] != "web" {
		t.Errorf("%+v", rec)
	}
	// The answer was lost; another server is asked.
	again, fresh, err := p.tokens(t).Redeem(ctx, p.roster(t), prove(t, token, key), key)
	ok(t, err)
	if fresh || again.ID != rec.ID || again.Key != key {
		t.Errorf("%+v %v", again, fresh)
	}
	thief := newKey(t)
	for range 3 {
		_, _, err = tokens.Redeem(ctx, r, prove(t, token, thief), thief)
		refusedAs(t, err, identity.ErrTokenUsed)
	}
	list, err := tokens.List(ctx)
	ok(t, err)
	if len(list) != 2 || list[1].ID != token.ID || list[1].Refused != 3 || list[1].LastKey != thief || list[1].Agent != "001" || list[1].UsedBy != key {
		t.Errorf("%+v", list)
	}
	// A removed agent does not come back by its token.
	_, err = r.Remove(ctx, rec.ID)
	ok(t, err)
	_, _, err = tokens.Redeem(ctx, r, prove(t, token, key), key)
	refusedAs(t, err, identity.ErrKey)

	other := issue(t, p, tokens, r, "web-02")
	_, err = tokens.Withdraw(ctx, other.ID)
	ok(t, err)
	_, _, err = tokens.Redeem(ctx, r, prove(t, other, key), key)
	refusedAs(t, err, identity.ErrTokenWithdrawn)
	if _, err := tokens.Withdraw(ctx, token.ID); err == nil {
		t.Error("a used token is withdrawn")
	}

	// A token of another fleet, or one that nobody remembers.
	text, err := p.NewToken(identity.TokenOptions{URLs: []string{p.b.URL()}, ID: identity.NewTokenID(), Expires: time.Now().Add(time.Hour)})
	ok(t, err)
	unknown, err := identity.ParseToken(text)
	ok(t, err)
	_, _, err = tokens.Redeem(ctx, r, prove(t, unknown, key), key)
	refusedAs(t, err, identity.ErrTokenUnknown)

	for _, o := range []identity.IssueOptions{
		{Name: "x", For: time.Hour}, {Name: "web-03"}, {Name: "web-03", For: identity.MaxTokenLife + 1},
	} {
		o.URLs = []string{p.b.URL()}
		if _, _, err := tokens.Issue(ctx, p.Authority, r, o); err == nil {
			t.Errorf("a token for %+v", o)
		}
	}
	_, err = r.Add(ctx, "web-04", nil, newKey(t))
	ok(t, err)
	_, _, err = tokens.Issue(ctx, p.Authority, r, identity.IssueOptions{Name: "web-04", For: time.Hour, URLs: []string{p.b.URL()}})
	refusedAs(t, err, identity.ErrNameTaken)
}

// TestTokenRace has many hosts and several servers race for one token.
func TestTokenRace(t *testing.T) {
	p := newPlace(t)
	rosters, tokens := []*identity.Roster{p.roster(t), p.roster(t)}, []*identity.Tokens{p.tokens(t), p.tokens(t)}
	for round := range 5 {
		token := issue(t, p, tokens[0], rosters[0], fmt.Sprintf("host-%d", round))
		var all sync.WaitGroup
		var mu sync.Mutex
		won := map[string]string{} // key to id
		start := make(chan struct{})
		for i := range 12 {
			key := newKey(t)
			proof := prove(t, token, key)
			for try := range 2 { // each asks two servers at once
				all.Go(func() {
					<-start
					rec, _, err := tokens[(i+try)%2].Redeem(t.Context(), rosters[(i+try)%2], proof, key)
					if err != nil {
						if !errors.Is(err, identity.ErrTokenUsed) {
							t.Error(err)
						}
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if old, ok := won[key]; ok && old != rec.ID {
						t.Errorf("the same key is %s and %s", old, rec.ID)
					}
					won[key] = rec.ID
				})
			}
		}
		close(start)
		all.Wait()
		if len(won) != 1 {
			t.Errorf("%d hosts joined with one token", len(won))
		}
	}
	if got := len(p.roster(t).List()); got != 5 {
		t.Errorf("%d agents from 5 tokens", got)
	}
}

// TestRevokedBeforeTheServerIsBack: a broker that starts again knows by itself
// whom it does not let in.
func TestRevokedBeforeTheServerIsBack(t *testing.T) {
	p, ctx := newPlace(t), t.Context()
	r := p.roster(t)
	seed, key, err := identity.NewKey()
	ok(t, err)
	rec, err := r.Add(ctx, "web-01", nil, key)
	ok(t, err)
	claims, err := p.Agent(rec.ID, rec.Name, key)
	ok(t, err)
	c := identity.Credentials{ID: rec.ID, JWT: claims, Seed: seed, CA: p.CAPEM(), OrderKeys: []string{p.OrderKey()}}
	try := func() error {
		c.URLs = []string{p.b.URL()}
		nc, err := nats.Connect(p.b.URL(), append(c.Options(), nats.NoReconnect())...)
		if err == nil {
			nc.Close()
		}
		return err
	}
	ok(t, try())
	_, err = r.Remove(ctx, rec.ID)
	ok(t, err)
	account, err := p.AccountJWT(r.Revoked())
	ok(t, err)
	user, err := p.SystemOptions()
	ok(t, err)
	sys, err := nats.Connect(p.b.URL(), append(user, p.b.Options()...)...)
	ok(t, err)
	defer sys.Close()
	_, err = sys.Request(identity.ClaimsSubject, []byte(account), 10*time.Second)
	ok(t, err)
	refusedAs(t, try(), nats.ErrAuthorization)
	p.b.Close()
	p.start(t)
	refusedAs(t, try(), nats.ErrAuthorization)
}

const clientKeys = `# comment
001 web-01 any 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
002 web-02 10.0.0.9 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
 003 a-space-in-front any k
004 #*#*#*#*#*#*#*#*#*#*#.0.0.9 0123456789abcdef
005 !gone 10.0.0.10 0123456789abcdef
1024 mail.example 2001:db8::/32 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef` + "\r" + `
1025 lan 192.168.0.0/255.255.0.0 key

`

func TestImport(t *testing.T) {
	p, ctx := newPlace(t), t.Context()
	r, tokens := p.roster(t), p.tokens(t)
	path := filepath.Join(t.TempDir(), "client.keys")
	write := func(text string) { ok(t, os.WriteFile(path, []byte(text), 0o600)) }
	write(clientKeys)
	got, err := r.Import(ctx, path)
	ok(t, err)
	var said strings.Builder
	for _, rec := range got {
		fmt.Fprintf(&said, "%s %q %q %v %v %q\n", rec.ID, rec.Name, rec.Address, rec.Imported, !rec.Removed.IsZero(), rec.Key)
	}
	want := `001 "web-01" "any" true false ""
002 "web-02" "10.0.0.9" true false ""
004 "" "" true true ""
005 "gone" "10.0.0.10" true true ""
1024 "mail.example" "2001:db8::/32" true false ""
1025 "lan" "192.168.0.0/255.255.0.0" true false ""
`
	if said.String() != want {
		t.Errorf("read\n%s\nexpected\n%s", said.String(), want)
	}
	again, err := r.Import(ctx, path)
	if err != nil || len(again) != 0 {
		t.Errorf("the same file again: %v %v", again, err)
	}
	// An imported agent joins with a token for its name and keeps its id.
	token, key := issue(t, p, tokens, r, "web-02"), newKey(t)
	rec, _, err := tokens.Redeem(ctx, r, prove(t, token, key), key)
	ok(t, err)
	if rec.ID != "002" || rec.Address != "10.0.0.9" || rec.Key != key || !rec.Imported {
		t.Errorf("%+v", rec)
	}
	if again, err := r.Import(ctx, path); err != nil || len(again) != 0 {
		t.Errorf("after one has joined: %v %v", again, err)
	}
	if rec, _ := r.Get("002"); rec.Key != key {
		t.Error("importing again took its key away")
	}
	next, err := r.Add(ctx, "new", nil, newKey(t))
	ok(t, err)
	if next.ID != "1026" {
		t.Errorf("the next id is %s", next.ID)
	}
	for text, want := range map[string]string{
		"1 web any k\n":                              `client.keys:1:1: read "1"`,
		"\n000 manager any k":                        `client.keys:2:1: read "000"`,
		"abc web any k":                              `:1:1: read "abc"`,
		"007 we?b any k":                             `:1:5: read "we?b"`,
		"007 12 any k":                               `:1:5: read "12"`,
		"007 web-07 10.0.0.300 k":                    `:1:12: read "10.0.0.300"`,
		"007 web-07 any":                             `:1:15: expected the agent's key`,
		"007 web-07 any k\n007 web-08 any k":         `:2:1: id 007 is in line 1`,
		"007 web-07 any k\n008 web-07 any k":         `:2:5: agent web-07 is in line 1`,
		"007 web-07 any k\n002 other any k":          `:2:1: id 002 is agent web-02 here`,
		"007 web-07 any k\n008 web-01 any k":         `:2:1: the name is taken: web-01 is agent 001`,
		"007 web-07 any " + strings.Repeat("k", 1e5): "longer than 64 kB",
	} {
		write(text)
		if _, err := r.Import(ctx, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, expected %q in it", text, err, want)
		}
	}
	if _, ok := r.Get("007"); ok {
		t.Error("a file with an error was imported in part")
	}
	if _, err := r.Import(ctx, path+".not"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestForeignRecords: what others write into the roster neither stops a server
// nor frees an id.
func TestForeignRecords(t *testing.T) {
	p, ctx := newPlace(t), t.Context()
	js := p.js(t)
	r := p.roster(t)
	kv, err := js.KeyValue(ctx, fleet.AgentBucket)
	ok(t, err)
	for key, value := range map[string]string{"001": "noise", "002": `{"id":"003"}`, "nonsense": "{}"} {
		_, err := kv.Put(ctx, key, []byte(value))
		ok(t, err)
	}
	rec, err := r.Add(ctx, "web-01", nil, newKey(t))
	ok(t, err)
	if rec.ID != "003" {
		t.Errorf("id %s", rec.ID)
	}
	ok(t, kv.Delete(ctx, rec.ID))
	fresh, err := p.roster(t).Add(ctx, "web-02", nil, newKey(t))
	ok(t, err)
	if fresh.ID != "004" {
		t.Errorf("the id of a deleted record was given again: %s", fresh.ID)
	}
}
