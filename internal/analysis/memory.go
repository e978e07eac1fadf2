package analysis

import (
	"strconv"
	"strings"

	"riposte/internal/ossec/ruleset"
)

// Fact is something that the engine learned from an event and that the real
// systems keep over a restart.
type Fact struct {
	Kind  FactKind
	Key   string
	Value string
}

// FactKind says what a fact is about.
type FactKind uint8

// The kinds of fact.
const (
	Seen    FactKind = iota // if_fts: Key was seen
	Ignored                 // <ignore>: Key is to be ignored
	LastLog                 // check_diff: Value was the last record of Key
)

// bounded is a map that forgets its oldest entries when it holds too much.
type bounded struct {
	m     map[string]string
	order []string // the keys, oldest first, from head on
	head  int
	bytes int
	limit int // bytes of keys and values
}

func newBounded(limit int) bounded { return bounded{m: map[string]string{}, limit: limit} }

const entryOverhead = 128 // bytes that an entry costs beyond its text, as measured

func (b *bounded) put(key, value string) {
	if old, ok := b.m[key]; ok {
		b.bytes += len(value) - len(old)
	} else {
		b.bytes += len(key) + len(value) + entryOverhead
		b.order = append(b.order, key)
	}
	b.m[key] = value
	for b.bytes > b.limit && b.head < len(b.order)-1 {
		oldest := b.order[b.head]
		b.order[b.head] = ""
		b.head++
		b.bytes -= len(oldest) + len(b.m[oldest]) + entryOverhead
		delete(b.m, oldest)
	}
	if b.head > 1024 && b.head > len(b.order)/2 {
		b.order = append(b.order[:0], b.order[b.head:]...)
		b.head = 0
	}
}

// Bounds of what is remembered.
const (
	seenLimit    = 32 << 20 // bytes of first-time-seen keys
	ignoredLimit = 8 << 20
	diffLimit    = 16 << 20
	keyLimit     = 255  // bytes of a first-time-seen key
	diffText     = 8192 // a record of this size or more is never compared
)

// memory is what conditions remember: if_fts, check_diff and ignore.
type memory struct {
	wazuh   bool
	opt     *Options
	seen    bounded
	ignored bounded
	diffs   bounded
	ids     []string // the last first-time-seen keys of ids decoders, newest last
	key     []byte
}

func newMemory(wazuh bool, o *Options) *memory {
	return &memory{wazuh: wazuh, opt: o, seen: newBounded(seenLimit), ignored: newBounded(ignoredLimit), diffs: newBounded(diffLimit)}
}

// learn takes a fact in, from an event or from what was kept over a restart.
func (m *memory) learn(f Fact) {
	switch f.Kind {
	case Seen:
		m.seen.put(f.Key, "")
	case Ignored:
		m.ignored.put(f.Key, "")
	case LastLog:
		m.diffs.put(f.Key, f.Value)
	}
}

func (m *memory) remember(f Fact) {
	m.learn(f)
	if m.opt.Remember != nil {
		m.opt.Remember(f)
	}
}

// part appends a part of a key, empty when it is not named or not there.
func (m *memory) part(r *record, k *ruleset.Key, s ruleset.Slot) {
	m.key = append(m.key, ' ')
	if v, ok := r.slot(s); ok && k.Has(s) {
		m.key = append(m.key, v...)
	}
}

// firstTime is the condition if_fts.
func (m *memory) firstTime(r *record) bool {
	if r.decoder == nil || r.decoder.FTS == nil {
		return false
	}
	k := r.decoder.FTS
	m.key = append(m.key[:0], r.decoder.Name...)
	for _, s := range [...]ruleset.Slot{ruleset.ID, ruleset.DstUser, ruleset.SrcUser, ruleset.SrcIP, ruleset.DstIP, ruleset.Data, ruleset.SystemName} {
		m.part(r, k, s)
	}
	m.location(r, k)
	m.dynamic(r, k)
	key := m.key[:min(keyLimit, len(m.key))]
	if _, known := m.seen.m[string(key)]; known {
		return false
	}
	if r.decoder.Type == ruleset.IDS && m.tooAlike(&key) {
		if _, known := m.seen.m[string(key)]; known {
			return false
		}
	}
	m.remember(Fact{Kind: Seen, Key: string(key)})
	return true
}

func (m *memory) location(r *record, k *ruleset.Key) {
	m.key = append(m.key, ' ')
	if k.Location {
		m.key = append(m.key, r.location...)
	}
}

func (m *memory) dynamic(r *record, k *ruleset.Key) {
	for _, name := range k.Fields {
		m.key = append(m.key, ' ')
		if v, ok := r.named(name); ok {
			m.key = append(m.key, v...)
		}
	}
}

// tooAlike cuts the key of an ids event that begins as several of the last
// ones did, so that a flood of similar alerts stops being new.
func (m *memory) tooAlike(key *[]byte) bool {
	alike, cut := 0, false
	for i := len(m.ids) - 1; i >= 0; i-- {
		if commonPrefix(m.ids[i], *key) > m.opt.FTSLength {
			if alike++; alike > 2 {
				*key = (*key)[:min(len(*key), m.opt.FTSLength)]
				cut = true
				break
			}
		}
	}
	m.ids = append(m.ids, string(*key))
	if over := len(m.ids) - m.opt.FTSSize; over > 0 {
		m.ids = append(m.ids[:0], m.ids[over:]...)
	}
	return cut
}

func commonPrefix(a string, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// changed is the condition check_diff: it holds when the record differs from
// the last one of the same host and rule, which r.diff then is.
func (m *memory) changed(r *record, x *rule) bool {
	if len(r.log) >= diffText {
		return false
	}
	host := r.host
	if !m.wazuh && strings.HasPrefix(host, "(") {
		host, _, _ = strings.Cut(host[1:], ")")
	}
	m.key = strconv.AppendInt(append(append(m.key[:0], host...), '/'), int64(x.ID), 10)
	last, ok := m.diffs.m[string(m.key)]
	if ok && last == r.log {
		return false
	}
	m.remember(Fact{Kind: LastLog, Key: string(m.key), Value: strings.Clone(r.log)})
	if ok {
		r.diff = last
	}
	return ok
}

// ignoreKey builds the line that <ignore> writes and <check_if_ignored> looks
// for. OSSEC's check takes two parts by the wrong mask.
func (m *memory) ignoreKey(r *record, k, odd *ruleset.Key) []byte {
	m.key = m.key[:0]
	if k.Name && r.decoder != nil {
		m.key = append(m.key, r.decoder.Name...)
	}
	for _, s := range [...]ruleset.Slot{ruleset.ID, ruleset.DstUser, ruleset.SrcIP, ruleset.DstIP} {
		m.part(r, k, s)
	}
	m.part(r, odd, ruleset.Data)
	m.part(r, odd, ruleset.SystemName)
	m.location(r, k)
	m.dynamic(r, k)
	return m.key
}

// isIgnored is <check_if_ignored>. In Wazuh it never drops anything: the line
// is stored with its newline and looked for without.
func (m *memory) isIgnored(r *record, x *rule) bool {
	if m.wazuh || x.IgnoreCheck == nil {
		return false
	}
	odd := x.IgnoreKeys
	if odd == nil {
		odd = &ruleset.Key{}
	}
	_, ok := m.ignored.m[string(m.ignoreKey(r, x.IgnoreCheck, odd))]
	return ok
}

// ignore is <ignore>. Only a live OSSEC writes, and only an OSSEC reads.
func (m *memory) ignore(r *record, x *rule) {
	if m.wazuh || !m.opt.Live || x.IgnoreKeys == nil {
		return
	}
	key := m.ignoreKey(r, x.IgnoreKeys, x.IgnoreKeys)
	if _, known := m.ignored.m[string(key)]; !known {
		m.remember(Fact{Kind: Ignored, Key: string(key)})
	}
}
