package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"time"

	"riposte/internal/fleet"
	"riposte/internal/guard"
	"riposte/internal/host"
	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
	"riposte/internal/response"
)

// pushBundle makes the guard of this server's configuration the agents', too,
// and its local responses those of agents that judge for themselves.
func (s *server) pushBundle(ctx context.Context, w *World) error {
	l := s.link.Load()
	if l == nil || s.broker == nil && !l.Leads() {
		return nil // who leads does
	}
	g := &w.Settings.Guard
	b := fleet.Bundle{
		Limit: fleet.Limit(g.Limit), Limits: map[string]fleet.Limit{}, Breaker: fleet.Breaker{Targets: g.Breaker.Targets, Within: g.Breaker.Within, Cooldown: g.Breaker.Cooldown},
		WidestV4: g.WidestIPv4, WidestV6: g.WidestIPv6, Observe: w.Settings.Observe, Canary: w.Settings.Fleet.Canary,
	}
	for name, limit := range g.Limits {
		b.Limits[name] = fleet.Limit(limit)
	}
	b.Allow = append(b.Allow, w.Settings.Allow...)
	for _, a := range w.Config.Global.AllowList {
		switch {
		case a.Not:
			b.Allow = append(b.Allow, "!"+cmp.Or(a.Name, a.Prefix.String()))
		case a.Name != "":
			b.Allow = append(b.Allow, a.Name)
		default:
			b.Allow = append(b.Allow, a.Prefix.String())
		}
	}
	b.Responses, b.Dialect = localResponses(w.Config.Responses), w.Settings.Dialect.String()
	version, err := l.SetBundle(ctx, b)
	if err == nil {
		s.log.Info("the agents' configuration", "version", version)
	}
	return err
}

// localResponses are those of a configuration that the host carries out which
// saw the event.
func localResponses(all []conf.Response) []fleet.Response {
	out := []fleet.Response{}
	for i := range all {
		r := &all[i]
		if !r.Place.Local || !r.Selects() {
			continue
		}
		x := fleet.Response{Command: r.Command.Command, Needs: r.Command.Needs.Kind, Optional: r.Command.Needs.Optional,
			Level: r.Level, Timeout: r.Timeout, Ladder: r.Ladder}
		for _, id := range r.IDs {
			x.Rules = append(x.Rules, id.ID)
		}
		for _, g := range r.Groups {
			x.Groups = append(x.Groups, g.Text)
		}
		out = append(out, x)
	}
	return out
}

// bundleResponses reads the responses of a bundle, nil when it has none to say.
func bundleResponses(b *fleet.Bundle) ([]conf.Response, ossec.Dialect, error) {
	if b == nil || b.Responses == nil {
		return nil, 0, nil
	}
	dialect, err := ossec.ParseDialect(b.Dialect)
	if err != nil {
		return nil, 0, err
	}
	out := make([]conf.Response, len(b.Responses))
	for i := range b.Responses {
		r, to := &b.Responses[i], &out[i]
		to.Command.Command, to.Command.Needs = r.Command, conf.Needs{Kind: r.Needs, Optional: r.Optional}
		to.Place.Local, to.Level, to.Timeout, to.Ladder = true, r.Level, r.Timeout, r.Ladder
		if r.Command.Name == "" || r.Level < 0 || r.Timeout < 0 || slices.ContainsFunc(r.Ladder, func(d time.Duration) bool { return d <= 0 }) {
			return nil, 0, fmt.Errorf("response %q at level %d for %v, then %v: expected a name, and no times below zero", r.Command.Name, r.Level, r.Timeout, r.Ladder)
		}
		for _, id := range r.Rules {
			to.IDs = append(to.IDs, conf.RuleID{ID: id})
		}
		for _, text := range r.Groups {
			g, err := conf.NewGroup(text, dialect)
			if err != nil {
				return nil, 0, fmt.Errorf("response %q: group %q: %w", r.Command.Name, text, err)
			}
			to.Groups = append(to.Groups, g)
		}
	}
	return out, dialect, nil
}

// central has a world answer as the servers want it, if they have said, instead
// of by <active-response> blocks of this host.
func (a *agent) central(w *World) error {
	rs, dialect, err := bundleResponses(a.bundle.Load())
	if rs == nil || err != nil {
		return err
	}
	cfg := *w.Config
	cfg.Responses = rs
	w.Config, w.Planner = &cfg, response.New(&cfg, dialect, &a.d.ids)
	return nil
}

const bundleFile = "bundle.json"

func (a *agent) storedBundle() (*fleet.Bundle, error) {
	b, err := os.ReadFile(filepath.Join(a.dir, bundleFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := new(fleet.Bundle)
	if err := fleet.Decode(b, out); err != nil {
		return nil, err
	}
	return out, checkBundle(out)
}

// checkBundle reports what an agent cannot use of a bundle.
func checkBundle(b *fleet.Bundle) error {
	if _, err := bundleEntries(b); err != nil {
		return err
	}
	_, _, err := bundleResponses(b)
	return err
}

// bundleEntries reads the allow list of a bundle.
func bundleEntries(b *fleet.Bundle) ([]guard.Entry, error) {
	if b == nil {
		return nil, nil
	}
	var out []guard.Entry
	for _, text := range b.Allow {
		not := len(text) > 0 && text[0] == '!'
		if not {
			text = text[1:]
		}
		e, err := guard.ParseEntry(text)
		if err != nil {
			return nil, fmt.Errorf("allow list: %w", err)
		}
		e.Not, e.Source = not, "the server's configuration, version "+strconv.FormatUint(b.Version, 10)
		out = append(out, e)
	}
	if b.WidestV4 < 0 || b.WidestV4 > 32 || b.WidestV6 < 0 || b.WidestV6 > 128 {
		return nil, fmt.Errorf("widest prefixes of /%d and /%d: expected at most 32 and 128", b.WidestV4, b.WidestV6)
	}
	if b.Breaker.Targets < 0 || b.Breaker.Within < 0 || b.Breaker.Cooldown < 0 || b.Breaker.Targets > 0 && b.Breaker.Within == 0 {
		return nil, fmt.Errorf("a breaker of %d targets within %v", b.Breaker.Targets, b.Breaker.Within)
	}
	for name, percent := range b.Canary {
		if percent < 0 || percent > 100 {
			return nil, fmt.Errorf("canary %s of %d %%: expected 0 to 100", name, percent)
		}
	}
	return out, nil
}

// use checks the server's configuration, uses it and stores it. After an error
// the one before is in use.
func (a *agent) use(ctx context.Context, b fleet.Bundle) error {
	if err := checkBundle(&b); err != nil {
		return err
	}
	before := a.bundle.Swap(&b)
	err := a.goBy(ctx, before)
	if err == nil {
		var text []byte
		if text, err = fleet.Encode(b); err == nil {
			err = host.ReplaceFile(filepath.Join(a.dir, bundleFile), append(text, '\n'), 0o600)
		}
	}
	if err != nil {
		a.bundle.Store(before)
		return errors.Join(err, a.goBy(ctx, &b))
	}
	a.log.Info("uses the server's configuration", "version", b.Version)
	return nil
}

// goBy has guard and analysis go by the bundle in use, instead of by another.
func (a *agent) goBy(ctx context.Context, before *fleet.Bundle) error {
	if b := a.bundle.Load(); a.local != nil && (b == nil || before == nil || b.Dialect != before.Dialect || !reflect.DeepEqual(b.Responses, before.Responses)) {
		if err := a.d.answerAnew(); err != nil {
			return err
		}
	}
	return a.d.applyGuard(ctx, a.d.world.Load())
}

// bundleBounds are the bounds that the server asks for.
func bundleBounds(b *fleet.Bundle) guard.Bounds {
	o := guard.Options{WidestV4: b.WidestV4, WidestV6: b.WidestV6, Limit: guard.Limit(b.Limit), Limits: map[string]guard.Limit{},
		Breaker: guard.Breaker{Targets: b.Breaker.Targets, Within: b.Breaker.Within, Cooldown: b.Breaker.Cooldown}}
	for name, l := range b.Limits {
		o.Limits[name] = guard.Limit(l)
	}
	return o.Bounds()
}

// observes reports whether the server wants a command only observed here.
func (a *agent) observes(command string) bool {
	b := a.bundle.Load()
	if b == nil {
		return false
	}
	if slices.Contains(b.Observe, command) {
		return true
	}
	percent, ok := b.Canary[command]
	return ok && !chosen(a.credentials.ID, command, percent)
}

// chosen reports whether an agent is among so many of a hundred that try a
// command out. It is always the same ones, and others for another command.
func chosen(id, command string, percent int) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(command + "\x00" + id)) // never fails
	return int(h.Sum32()>>8%100) < percent
}
