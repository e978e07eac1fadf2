package firewalld

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// The names under which firewalld is on the bus.
const (
	service   = "org.fedoraproject.FirewallD1"
	path      = "/org/fedoraproject/FirewallD1"
	zones     = service + ".zone"
	exception = service + ".Exception"
)

// patience is how long one call may take: firewalld does one thing at a time,
// and a reload of a large configuration takes a while.
const patience = 30 * time.Second

// daemon is firewalld as seen over the bus.
type daemon struct{ conn *dbus.Conn }

// dial connects to the bus, and has it tell on signals when firewalld has been
// reloaded or started. signals is closed with the connection.
func dial(address string, signals chan<- *dbus.Signal) (*daemon, error) {
	var conn *dbus.Conn
	var err error
	if address == "" {
		conn, err = dbus.ConnectSystemBus()
	} else {
		conn, err = dbus.Connect(address)
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to D-Bus: %w", err)
	}
	err = errors.Join(
		conn.AddMatchSignal(dbus.WithMatchInterface(service), dbus.WithMatchMember("Reloaded")),
		conn.AddMatchSignal(dbus.WithMatchInterface("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, service)),
	)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("listening on D-Bus: %w", err)
	}
	conn.Signal(signals)
	return &daemon{conn: conn}, nil
}

// forgot reports whether the signal says that firewalld has lost its runtime
// configuration and is up.
func forgot(s *dbus.Signal) bool {
	switch s.Name {
	case service + ".Reloaded":
		return true
	case "org.freedesktop.DBus.NameOwnerChanged":
		if len(s.Body) == 3 {
			owner, _ := s.Body[2].(string)
			return owner != ""
		}
	}
	return false
}

// call calls a method of firewalld, which is not started by it: an
// administrator who has stopped it meant it.
func (d *daemon) call(ctx context.Context, result any, method string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	call := d.conn.Object(service, path).CallWithContext(ctx, method, dbus.FlagNoAutoStart, args...)
	if call.Err != nil {
		var e dbus.Error
		if errors.As(call.Err, &e) && gone(e.Name) {
			return errAway
		}
		return call.Err
	}
	if result == nil {
		return nil
	}
	return call.Store(result)
}

// errAway says that there is no firewalld on the bus.
var errAway = errors.New("firewalld is not running")

// gone reports whether a D-Bus error says that nobody has the name.
func gone(name string) bool {
	switch name {
	case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner":
		return true
	}
	return false
}

// says reports whether err is firewalld's exception of that code.
func says(err error, code string) bool {
	var e dbus.Error
	return errors.As(err, &e) && e.Name == exception && strings.HasPrefix(e.Error(), code+":")
}

// used returns the zones that packets can meet: the active ones and the
// default one.
func (d *daemon) used(ctx context.Context) ([]string, error) {
	var standard string
	if err := d.call(ctx, &standard, service+".getDefaultZone"); err != nil {
		return nil, fmt.Errorf("asking for the default zone: %w", err)
	}
	var active map[string]map[string][]string
	if err := d.call(ctx, &active, zones+".getActiveZones"); err != nil {
		return nil, fmt.Errorf("asking for the active zones: %w", err)
	}
	names := []string{standard}
	for name := range active {
		if name != standard {
			names = append(names, name)
		}
	}
	slices.Sort(names[1:])
	return names, nil
}

// all returns every zone that there is.
func (d *daemon) all(ctx context.Context) (names []string, err error) {
	if err := d.call(ctx, &names, zones+".getZones"); err != nil {
		return nil, fmt.Errorf("asking for the zones: %w", err)
	}
	return names, nil
}

// held is which of a zone's rules are ours: for a prefix, in which slots.
type held map[netip.Prefix][slots]bool

// rules returns our rules in a zone.
func (d *daemon) rules(ctx context.Context, zone string) (held, error) {
	var texts []string
	if err := d.call(ctx, &texts, zones+".getRichRules", zone); err != nil {
		return nil, fmt.Errorf("listing the rules of zone %s: %w", zone, err)
	}
	out := make(held)
	for _, text := range texts {
		if s, p, ok := parseRule(text); ok {
			in := out[p]
			in[s] = true
			out[p] = in
		}
	}
	return out, nil
}

// add adds a rule that firewalld takes away after seconds (0: never).
func (d *daemon) add(ctx context.Context, zone string, s slot, p netip.Prefix, seconds int32) error {
	err := d.call(ctx, nil, zones+".addRichRule", zone, rule(s, p), seconds)
	if err != nil && !says(err, "ALREADY_ENABLED") {
		return fmt.Errorf("adding a rule to zone %s: %w", zone, err)
	}
	return nil
}

// remove takes a rule away; that it is not there, or the zone, is as good.
func (d *daemon) remove(ctx context.Context, zone string, s slot, p netip.Prefix) error {
	err := d.call(ctx, nil, zones+".removeRichRule", zone, rule(s, p))
	if err != nil && !says(err, "NOT_ENABLED") && !says(err, "INVALID_ZONE") {
		return fmt.Errorf("removing a rule from zone %s: %w", zone, err)
	}
	return nil
}
