package link

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
)

// ErrJoined means that the host is an agent already.
var ErrJoined = errors.New("this host is an agent already")

// Join enrols this host with a token and stores its credentials in dir. version
// is riposte's, name the host's own.
func Join(ctx context.Context, text, dir, name, version string, log *slog.Logger) (*identity.Credentials, error) {
	token, err := identity.ParseToken(text)
	if err != nil {
		return nil, err
	}
	if c, err := identity.LoadCredentials(dir); err == nil {
		return c, fmt.Errorf("%w: %s (%s) of %s", ErrJoined, c.ID, c.Name, strings.Join(c.URLs, ", "))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	p, err := identity.BeginKey(dir, identity.JoinFile, identity.Pending{For: token.ID})
	if err != nil {
		return nil, err
	}
	public, err := (&identity.Credentials{Seed: p.Seed}).PublicKey()
	if err != nil {
		return nil, err
	}
	reply, err := askToJoin(ctx, token, public, fleet.JoinRequest{Key: public, Host: name, OS: runtime.GOOS + "/" + runtime.GOARCH, Version: version}, log)
	if err != nil {
		return nil, err
	}
	c := &identity.Credentials{
		ID: reply.ID, Name: reply.Name, Groups: reply.Groups, JWT: reply.JWT, Seed: p.Seed, CA: []byte(reply.CA),
		OrderKeys: reply.OrderKeys, URLs: reply.URLs, Joined: fleet.Place{Seq: reply.Head, Issued: reply.Issued},
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("the server's answer: %w", err)
	}
	if err := c.Save(dir); err != nil {
		return nil, err
	}
	return c, identity.EndKey(dir, identity.JoinFile)
}

// askToJoin asks the server, for as long as ctx lasts.
func askToJoin(ctx context.Context, token identity.Token, public string, q fleet.JoinRequest, log *slog.Logger) (reply fleet.JoinReply, err error) {
	if q.Token, err = token.Proof(public); err != nil {
		return reply, err
	}
	b, err := fleet.Encode(q)
	if err != nil {
		return reply, err
	}
	nc, err := connect(strings.Join(token.URLs, ","), log, token.Options())
	if err != nil {
		return reply, err
	}
	defer nc.Close()
	if err := connected(ctx, nc); err != nil {
		return reply, fmt.Errorf("connect to %s: %w", strings.Join(token.URLs, ", "), err)
	}
	for {
		rctx, cancel := context.WithTimeout(ctx, patience)
		m, err := nc.RequestWithContext(rctx, fleet.JoinSubject, b)
		cancel()
		if err == nil {
			e, err := fleet.Open(signedCore(m), token.OrderKeys, public)
			if err != nil {
				return reply, fmt.Errorf("the answer is not the server's that made the token: %w", err)
			}
			if e.Kind != fleet.KindJoined {
				return reply, fmt.Errorf("the answer is %q, expected %q", e.Kind, fleet.KindJoined)
			}
			if err := fleet.Decode(e.Body, &reply); err != nil {
				return reply, err
			}
			if reply.Error != "" {
				return reply, errors.New("the server refuses: " + reply.Error)
			}
			return reply, nil
		}
		if perr := pause(ctx, time.Second); perr != nil {
			return reply, fmt.Errorf("no server answers at %s: %w", strings.Join(token.URLs, ", "), err)
		}
	}
}
