package identity

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/fleet"
)

// Record is what the fleet knows of one agent. A record is never deleted: the id
// of an agent that was removed is not given to another.
type Record struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	Groups  []string          `json:"groups,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Key     string            `json:"key,omitempty"` // public key; "" for one that was imported and has not joined yet
	Old     []OldKey          `json:"old,omitempty"`
	Address string            `json:"address,omitempty"` // as client.keys has it: an address, a network or "any"
	Created time.Time         `json:"created"`
	Removed time.Time         `json:"removed,omitzero"`
	Asked   time.Time         `json:"asked,omitzero"`   // for a new key; zero: it has nothing to bring
	Rotated time.Time         `json:"rotated,omitzero"` // when it brought its newest key

	Imported bool `json:"imported,omitempty"`
}

// OldKey is a public key that an agent had.
type OldKey struct {
	Key string    `json:"key"`
	At  time.Time `json:"at"` // when it was replaced, or the agent removed
	// Until is how long it still counts: one that was rotated away does for Grace,
	// so that an answer which was lost can be asked for again, unless the new one
	// is seen at work before. Zero: it is worth nothing, whatever any clock says.
	Until time.Time `json:"until,omitzero"`
}

// Grace is how long an agent may still connect with the key it replaced.
const Grace = time.Hour

// Why the roster refuses.
var (
	ErrNameTaken = errors.New("the name is taken")
	ErrName      = errors.New("a name is 2 to 128 letters, digits, dots, dashes and underscores, and not a number")
	ErrNoAgent   = errors.New("there is no such agent")
	ErrKey       = errors.New("the key cannot be used")
	ErrNotAsked  = errors.New("the agent was not asked for a new key")
)

// Roster is the list of agents, kept in the broker and held in memory by every
// server. It is changed by one server at a time: a change names the revision it
// was made from, and the broker refuses it when another came first.
type Roster struct {
	js  jetstream.JetStream
	kv  jetstream.KeyValue
	log *slog.Logger

	changing sync.Mutex // one change at a time from this server

	mu       sync.RWMutex
	records  map[string]Record
	revision map[string]uint64    // of each record
	names    map[string]string    // of the living, to their ids
	keys     map[string]string    // all there ever were, to their ids
	highest  int                  // id
	newest   uint64               // revision of the whole roster
	revoked  uint64               // revision of the last change that revoked a key
	grace    map[string]time.Time // old keys that still count, and until when
}

// NewRoster opens the roster in the broker, or makes it with so many replicas,
// and reads it.
func NewRoster(ctx context.Context, js jetstream.JetStream, replicas int, log *slog.Logger) (*Roster, error) {
	kv, err := Bucket(ctx, js, jetstream.KeyValueConfig{
		Bucket: fleet.AgentBucket, Description: "the agents of the fleet", Replicas: max(replicas, 1), History: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("open the roster: %w", err)
	}
	r := &Roster{
		js: js, kv: kv, log: log,
		records: map[string]Record{}, revision: map[string]uint64{}, names: map[string]string{}, keys: map[string]string{},
		grace: map[string]time.Time{},
	}
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Watch keeps the roster current until ctx ends.
func (r *Roster) Watch(ctx context.Context) error {
	return r.follow(ctx, false)
}

// load brings the roster up to date.
func (r *Roster) load(ctx context.Context) error {
	return r.follow(ctx, true)
}

// follow reads the roster and then, unless once, its changes.
func (r *Roster) follow(ctx context.Context, once bool) error {
	w, err := r.kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("read the roster: %w", err)
	}
	defer func() { _ = w.Stop() }() // a connection that is gone has no watch
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("read the roster: the watch ended")
			case e == nil && once:
				return nil
			case e != nil:
				r.apply(e.Key(), e.Value(), e.Revision(), e.Operation())
			}
		case <-ctx.Done():
			if once {
				return fmt.Errorf("read the roster: %w", context.Cause(ctx))
			}
			return nil
		}
	}
}

// apply takes one change into memory.
func (r *Roster) apply(key string, value []byte, revision uint64, op jetstream.KeyValueOp) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if revision <= r.revision[key] {
		return
	}
	r.newest = max(r.newest, revision)
	if n, err := strconv.Atoi(key); err == nil && fleet.ValidID(key) {
		r.highest = max(r.highest, n) // also of a record that is damaged or deleted
	}
	var rec Record
	if op != jetstream.KeyValuePut {
		r.log.Error("a record was deleted from the roster, which riposte never does: it is kept here until the next start", "agent", key)
		return
	}
	if err := json.Unmarshal(value, &rec); err != nil || rec.ID != key || !fleet.ValidID(key) {
		r.log.Error("a record of the roster is not understood", "agent", key, "error", err)
		return
	}
	old := r.records[key]
	if r.names[old.Name] == key {
		delete(r.names, old.Name)
	}
	r.records[key], r.revision[key] = rec, revision
	if rec.Removed.IsZero() {
		r.names[rec.Name] = key
	}
	if rec.Key != "" {
		r.keys[rec.Key] = key
	}
	for _, k := range rec.Old {
		r.keys[k.Key] = key
		if k.Until.After(time.Now()) {
			r.grace[k.Key] = k.Until
		} else {
			delete(r.grace, k.Key)
		}
	}
	if len(rec.Old) > 0 && !slices.Equal(old.Old, rec.Old) {
		r.revoked = max(r.revoked, revision)
	}
}

// change edits one record, or makes it. edit sees the roster as it is and
// returns the record as it should be; it is asked again when another server was
// faster. An edit that changes nothing is not written.
func (r *Roster) change(ctx context.Context, edit func() (Record, error)) (Record, error) {
	r.changing.Lock()
	defer r.changing.Unlock()
	for {
		r.mu.RLock()
		at := r.newest
		rec, err := edit()
		before, known := r.records[rec.ID]
		r.mu.RUnlock()
		if err != nil {
			return Record{}, err
		}
		value, err := json.Marshal(rec)
		if err != nil {
			return Record{}, fmt.Errorf("write the roster: %w", err)
		}
		if was, err := json.Marshal(before); err == nil && known && string(was) == string(value) {
			return rec, nil
		}
		msg := nats.NewMsg("$KV." + fleet.AgentBucket + "." + rec.ID)
		msg.Data = value
		ack, err := r.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequence(at))
		if err == nil {
			r.apply(rec.ID, value, ack.Sequence, jetstream.KeyValuePut)
			return rec, nil
		}
		if !isConflict(err) {
			return Record{}, fmt.Errorf("write the roster: %w", err)
		}
		if err := r.load(ctx); err != nil {
			return Record{}, err
		}
	}
}

// isConflict reports that the broker has a newer revision.
func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Add enrols an agent under a new id: one more than the highest there ever was.
// Names are unique among the living. An agent that was imported and has no key
// yet gets this one and keeps its id. The same key again gives the same record.
func (r *Roster) Add(ctx context.Context, name string, groups []string, key string) (Record, error) {
	if err := checkName(name); err != nil {
		return Record{}, err
	}
	if !ValidKey(key) {
		return Record{}, fmt.Errorf("%w: %q is not a public key", ErrKey, key)
	}
	now := time.Now().UTC()
	return r.change(ctx, func() (Record, error) {
		if id, ok := r.keys[key]; ok {
			if rec := r.records[id]; rec.Key == key && rec.Name == name {
				return rec, nil
			}
			return Record{}, fmt.Errorf("%w: agent %s has it or had it", ErrKey, id)
		}
		if id, ok := r.names[name]; ok {
			rec := r.records[id]
			if rec.Key != "" {
				return Record{}, fmt.Errorf("%w: %s is agent %s: remove that one first, or choose another name", ErrNameTaken, name, id)
			}
			rec.Key, rec.Groups = key, union(rec.Groups, groups)
			return rec, nil
		}
		return Record{ID: fmt.Sprintf("%03d", r.highest+1), Name: name, Groups: union(nil, groups), Key: key, Address: "any", Created: now}, nil
	})
}

// edit changes the record of an agent that is not removed.
func (r *Roster) edit(ctx context.Context, id string, f func(*Record) error) (Record, error) {
	return r.change(ctx, func() (Record, error) {
		rec, ok := r.records[id]
		if !ok || !rec.Removed.IsZero() {
			return Record{}, fmt.Errorf("%w: %s", ErrNoAgent, id)
		}
		rec = rec.clone()
		err := f(&rec)
		return rec, err
	})
}

// Remove takes an agent out of the fleet, for ever. Its key is revoked as soon
// as the broker is told.
func (r *Roster) Remove(ctx context.Context, id string) (Record, error) {
	now := time.Now().UTC()
	return r.edit(ctx, id, func(rec *Record) error {
		rec.Removed, rec.Asked = now, time.Time{}
		rec.endGrace()
		if rec.Key != "" {
			rec.Old, rec.Key = append(rec.Old, OldKey{Key: rec.Key, At: now}), ""
		}
		return nil
	})
}

// AskRotation notes that an agent is told to bring a new key.
func (r *Roster) AskRotation(ctx context.Context, id string) (Record, error) {
	now := time.Now().UTC()
	return r.edit(ctx, id, func(rec *Record) error {
		if rec.Key == "" {
			return fmt.Errorf("%w: agent %s has not joined yet", ErrKey, id)
		}
		rec.Asked = now
		return nil
	})
}

// Rotate gives an agent that was asked for it the new key that it brings. Its old
// key counts for Grace, so that the answer may be lost: bringing the same key
// again gives the same record.
func (r *Roster) Rotate(ctx context.Context, id, key string) (Record, error) {
	if !ValidKey(key) {
		return Record{}, fmt.Errorf("%w: %q is not a public key", ErrKey, key)
	}
	now := time.Now().UTC()
	return r.edit(ctx, id, func(rec *Record) error {
		if rec.Key == key {
			return nil
		}
		if by, ok := r.keys[key]; ok {
			return fmt.Errorf("%w: agent %s has it or had it", ErrKey, by)
		}
		if rec.Asked.IsZero() {
			return fmt.Errorf("%w: %s", ErrNotAsked, id)
		}
		rec.Old = append(rec.Old, OldKey{Key: rec.Key, At: now, Until: now.Add(Grace)})
		rec.Key, rec.Rotated, rec.Asked = key, now, time.Time{}
		return nil
	})
}

// Confirm ends the grace of an agent's old keys: it was seen to use its newest.
func (r *Roster) Confirm(ctx context.Context, id string) (Record, error) {
	return r.edit(ctx, id, func(rec *Record) error {
		rec.endGrace()
		return nil
	})
}

// Describe sets the groups and labels of an agent.
func (r *Roster) Describe(ctx context.Context, id string, groups []string, labels map[string]string) (Record, error) {
	return r.edit(ctx, id, func(rec *Record) error {
		rec.Groups, rec.Labels = union(nil, groups), maps.Clone(labels)
		return nil
	})
}

// Get returns the record of an agent, also of one that was removed.
func (r *Roster) Get(id string) (Record, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rec, ok := r.records[id]
	return rec.clone(), ok
}

// ByName returns the record of the agent that has the name now.
func (r *Roster) ByName(name string) (Record, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rec, ok := r.records[r.names[name]]
	return rec.clone(), ok
}

// List returns all records by id, those of removed agents included.
func (r *Roster) List() []Record {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]Record, 0, len(r.records))
	for _, rec := range r.records {
		out = append(out, rec.clone())
	}
	slices.SortFunc(out, func(a, b Record) int {
		return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), strings.Compare(a.ID, b.ID))
	})
	return out
}

// Removed returns the ids of the agents that were removed, in no order.
func (r *Roster) Removed() (ids []string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for id, rec := range r.records {
		if !rec.Removed.IsZero() {
			ids = append(ids, id)
		}
	}
	return ids
}

// Count returns how many agents are in the fleet, and how many of them have
// joined. It is for those who ask often.
func (r *Roster) Count() (all, joined int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, id := range r.names {
		if r.records[id].Key != "" {
			joined++
		}
	}
	return len(r.names), joined
}

// Revoked returns the keys that are worth nothing, for [Authority.AccountJWT], in
// no order.
func (r *Roster) Revoked() (keys []string) {
	now := time.Now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, rec := range r.records {
		for _, k := range rec.Old {
			if !k.Until.After(now) {
				keys = append(keys, k.Key)
			}
		}
	}
	return keys
}

// Mark tells one state of the revoked keys from another.
type Mark struct {
	Revision uint64 // of the last change that revoked a key, on whichever server
	Grace    int    // old keys that still count
}

// RevokedMark changes whenever [Roster.Revoked] does. A server that sees it
// change tells the broker again, which also mends what a slower server told it
// later. Take the mark first, then the keys.
func (r *Roster) RevokedMark() Mark {
	now := time.Now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	m := Mark{Revision: r.revoked}
	for _, until := range r.grace {
		if until.After(now) {
			m.Grace++
		}
	}
	return m
}

// Pending reports whether an old key of the agent's is still good.
func (c Record) Pending(now time.Time) bool {
	return slices.ContainsFunc(c.Old, func(k OldKey) bool { return k.Until.After(now) })
}

// endGrace makes the old keys worthless now.
func (c *Record) endGrace() {
	for i := range c.Old {
		c.Old[i].Until = time.Time{}
	}
}

// clone returns a record that shares nothing with the roster.
func (c Record) clone() Record {
	c.Groups, c.Labels, c.Old = slices.Clone(c.Groups), maps.Clone(c.Labels), slices.Clone(c.Old)
	return c
}

// union returns the groups of both, each once, sorted.
func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// checkName judges the name of a new agent, as OSSEC's OS_IsValidName does. A
// number would be taken for an id.
func checkName(name string) error {
	number := true
	for i := range len(name) {
		c := name[i]
		digit := c >= '0' && c <= '9'
		number = number && digit
		if !digit && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '.' && c != '-' && c != '_' {
			return fmt.Errorf("%w: %q", ErrName, name)
		}
	}
	if len(name) < 2 || len(name) > 128 || number || name == fleet.All {
		return fmt.Errorf("%w: %q", ErrName, name)
	}
	return nil
}
