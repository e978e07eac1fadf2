// Package link joins servers and agents over NATS: events up, orders down,
// receipts up, presence, enrolment. It holds the connections and the protocol;
// what travels is defined in package fleet, who may say what in package
// identity, and the broker enforces it.
//
// What a server keeps in the broker (JetStream):
//
//	EVENTS    batches of events, kept until judged and older than the longest
//	          time a rule looks back
//	ORDERS    every order, one log for the whole fleet: the place of an order in
//	          it is signed into the order
//	RECEIPTS  what the hosts did
//	riposte_state  who leads, and how far events have been judged
//
// One server leads: it judges and orders. Any server answers agents.
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/fleet"
)

// ErrDeposed means that another server leads now.
var ErrDeposed = errors.New("another server leads the fleet now")

// patience is how long one request to the broker may take before it counts as
// failed. The work that needs it is then tried again.
const patience = 5 * time.Second

// connectPatience is how long a connection may take from TCP to the broker's
// welcome. It is longer than the broker lets anybody wait for a turn: who gives
// up before that has cost it a handshake for nothing.
const connectPatience = 15 * time.Second

// reconnectDelay is how long to wait after the broker could not be reached so
// many times: longer each time and never the same, so that a fleet does not come
// back in step.
func reconnectDelay(attempts int) time.Duration {
	const first, last = 250 * time.Millisecond, 8 * time.Second
	d := last
	if attempts < 6 {
		d = min(first<<max(attempts-1, 0), last)
	}
	return d/2 + rand.N(d)
}

// connect dials the broker. It goes on trying for ever, at first and later:
// a fleet outlives its network.
func connect(urls string, log *slog.Logger, opts []nats.Option, more ...nats.Option) (*nats.Conn, error) {
	all := append([]nats.Option{
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(connectPatience),
		nats.Dialer(&net.Dialer{Timeout: patience}),
		nats.ReconnectBufSize(-1), // what cannot be sent now is for its owner to repeat
		nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if sub != nil {
				log.Warn("broker", "subject", sub.Subject, "error", err)
				return
			}
			log.Warn("broker", "error", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("the connection to the broker is lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("connected to the broker again", "url", c.ConnectedUrlRedacted()) }),
	}, opts...)
	nc, err := nats.Connect(urls, append(all, more...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker at %s: %w", urls, err)
	}
	return nc, nil
}

// connected waits until nc is connected.
func connected(ctx context.Context, nc *nats.Conn) error {
	for !nc.IsConnected() {
		if nc.IsClosed() {
			return fmt.Errorf("the connection to the broker is closed: %w", nc.LastError())
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			if last := nc.LastError(); last != nil {
				return fmt.Errorf("%w (%w)", err, last)
			}
			return err
		}
	}
	return nil
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// message writes a signed order as a message of NATS.
func message(subject string, s fleet.Signed) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = s.Body
	s.SetHeader(m.Header.Set)
	return m
}

// signed reads a message that message wrote.
func signed(m jetstream.Msg) fleet.Signed { return fleet.SignedFrom(m.Data(), m.Headers().Get) }

// signedCore reads a message that came past JetStream.
func signedCore(m *nats.Msg) fleet.Signed { return fleet.SignedFrom(m.Data, m.Header.Get) }
