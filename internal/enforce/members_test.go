package enforce

import (
	"errors"
	"testing"
	"time"

	"riposte"
)

func TestMembers(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	effect := func(value string, after time.Duration) Effect {
		return Effect{Target: riposte.Target{Kind: riposte.Address, Value: value}, Until: at.Add(after)}
	}
	effects := []Effect{
		effect("192.0.2.1", 3), effect("2001:db8::/32", 2), {Target: riposte.Target{Kind: riposte.User, Value: "eve"}},
		effect("192.0.2.1", 1), effect("192.0.2.1/32", 2), effect("not one", 1),
	}
	results := make([]Result, len(effects))
	members := Members(effects, results)
	if len(members) != 2 || members[0].Prefix.String() != "192.0.2.1/32" || members[1].Prefix.String() != "2001:db8::/32" {
		t.Fatalf("members %v", members)
	}
	if m := members[0]; len(m.Effects) != 3 || !m.Until.Equal(at.Add(2)) {
		t.Errorf("three effects on one address: %+v", m)
	}
	for i, r := range results {
		if (r.Err != nil) != (i == 2 || i == 5) {
			t.Errorf("effect %d: %v", i, r.Err)
		}
	}
	wrong := errors.New("wrong")
	FailAll(members[:1], results, wrong)
	for i, r := range results {
		if errors.Is(r.Err, wrong) != (i == 0 || i == 3 || i == 4) {
			t.Errorf("effect %d: %v", i, r.Err)
		}
	}
	if !members[0].Over(at.Add(2)) || members[0].Over(at) || (&Member{}).Over(at) {
		t.Error("Over is wrong")
	}
}
