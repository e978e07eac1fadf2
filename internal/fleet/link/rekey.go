package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
)

// ErrNewKey is what Run returns when the agent has a new key: the link is to be
// made anew, with the credentials that are stored now.
var ErrNewKey = errors.New("this agent has a new key")

// maxRekeyWait is the longest time between two attempts to bring a new key.
const maxRekeyWait = 10 * time.Minute

// beginKey makes the key that the order issued then calls for. It is on the disk when
// the order counts as dealt with, and before the server hears of it: the server
// may have it, and the old one be worth nothing soon, though its answer never
// came. An order that the key in use came of comes again when a crash lost the
// cursor.
func (a *Agent) beginKey(issued time.Time) error {
	if !issued.After(a.o.Credentials.Rotated) {
		return nil
	}
	old, err := a.o.Credentials.PublicKey()
	if err != nil {
		return err
	}
	if _, err := identity.BeginKey(a.o.Dir, identity.RekeyFile, identity.Pending{For: old, Ordered: issued}); err != nil {
		return err
	}
	a.wantKey()
	return nil
}

// wantKey has the key that was begun with brought to the server now.
func (a *Agent) wantKey() {
	select {
	case a.rekey <- struct{}{}:
	default: // it is going to happen
	}
}

// changeKey brings the server a key that was begun with, now or before the last
// start, until it has credentials for it.
func (a *Agent) changeKey(ctx context.Context) error {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for wait := time.Second; ; {
		select {
		case <-a.rekey:
		case <-retry.C:
		case <-ctx.Done():
			return nil
		}
		if !a.nc.IsConnected() {
			continue // the connection asks when it is there
		}
		err := a.bringKey(ctx)
		if err == nil || errors.Is(err, ErrNewKey) {
			if err != nil {
				return err
			}
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		a.o.Log.Warn("the server does not take this agent's new key; it is brought again", "in", wait, "error", err)
		retry.Reset(wait)
		wait = min(2*wait, maxRekeyWait)
	}
}

// bringKey asks for credentials for the key that was begun with, if there is one.
func (a *Agent) bringKey(ctx context.Context) error {
	c := a.o.Credentials
	old, err := c.PublicKey()
	if err != nil {
		return err
	}
	p, ok, err := identity.BegunKey(a.o.Dir, identity.RekeyFile, old)
	if err != nil || !ok {
		return err
	}
	public, err := (&identity.Credentials{Seed: p.Seed}).PublicKey()
	if err != nil {
		return err
	}
	b, err := fleet.Encode(fleet.RekeyRequest{Key: public})
	if err != nil {
		return err
	}
	rctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := a.nc.RequestWithContext(rctx, fleet.RekeySubject(c.ID), b)
	if err != nil {
		return err
	}
	var reply fleet.RekeyReply
	if err := fleet.Decode(m.Data, &reply); err != nil {
		return err
	}
	if reply.Error != "" {
		return errors.New(reply.Error)
	}
	next, err := c.Renewed(p, reply.JWT)
	if err != nil {
		return fmt.Errorf("the credentials for it are not used: %w", err)
	}
	if err := next.Save(a.o.Dir); err != nil {
		return err
	}
	if err := identity.EndKey(a.o.Dir, identity.RekeyFile); err != nil {
		a.o.Log.Debug("a file is left that means nothing any more", "error", err)
	}
	return ErrNewKey
}
