package link

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
)

// perSync is how many orders one answer holds at most.
const perSync = 512

// serveSync tells an agent what it has missed.
func (s *Server) serveSync(ctx context.Context, m *nats.Msg) {
	id, ok := fleet.Speaker(m.Subject)
	var q fleet.SyncRequest
	if err := fleet.Decode(m.Data, &q); err != nil || !ok {
		s.o.Log.Warn("an agent asks for orders in a way that is not understood", "agent", id, "error", err)
		return
	}
	if r, ok := s.roster.Get(id); !ok || !r.Removed.IsZero() {
		s.o.Log.Warn("a stranger asks for orders", "agent", id)
		return
	}
	if err := s.current(ctx); err != nil {
		s.o.Log.Warn("an agent cannot be told what it has missed", "agent", id, "error", err)
		s.reply(m, fleet.SyncReply{Error: "the log of orders cannot be read"})
		return
	}
	after := s.book.resume(q.After, q.Issued)
	out, upTo, more, ok := s.book.after(after, id, perSync)
	if !ok {
		var err error
		if out, upTo, more, err = s.old(ctx, after, id); err != nil {
			s.o.Log.Warn("an agent cannot be told what it has missed", "agent", id, "error", err)
			return
		}
	}
	a := fleet.SyncReply{Now: time.Now(), Head: upTo, Orders: out, More: more}
	if b := s.bundle.Load(); b != nil && s.version.Load() != q.Bundle {
		a.Bundle = b
	}
	s.reply(m, a)
}

// old reads from the broker what is no longer at hand.
func (s *Server) old(ctx context.Context, after uint64, id string) (out []fleet.Signed, upTo uint64, more bool, err error) {
	upTo = s.book.last()
	c, err := s.orders.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
		FilterSubjects: []string{fleet.OrderSubject(fleet.All), fleet.OrderSubject(id)},
	})
	if err != nil {
		return nil, 0, false, err
	}
	batch, err := c.FetchNoWait(perSync)
	if err != nil {
		return nil, 0, false, err
	}
	size := 0
	last := after
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return nil, 0, false, err
		}
		if size += 2*len(m.Data()) + 512; size > fleet.MaxMessage*3/4 && len(out) > 0 {
			return out, last, true, nil
		}
		out, last = append(out, signed(m)), meta.Sequence.Stream
		more = meta.NumPending > 0
	}
	if err := batch.Error(); err != nil {
		return nil, 0, false, err
	}
	if more {
		upTo = last
	}
	return out, upTo, more, nil
}

// reply answers a request. An answer that is lost is asked for again.
func (s *Server) reply(m *nats.Msg, v any) {
	b, err := json.Marshal(v)
	if err == nil {
		err = m.Respond(b)
	}
	if err != nil {
		s.o.Log.Warn("an agent could not be answered", "subject", m.Subject, "error", err)
	}
}

// serveJoin enrols whoever holds a token.
func (s *Server) serveJoin(ctx context.Context, m *nats.Msg) {
	var q fleet.JoinRequest
	if err := fleet.Decode(m.Data, &q); err != nil {
		s.o.Log.Warn("an enrolment is not understood", "error", err)
		return
	}
	// The answer is signed and addressed to this key: it must not be anything else
	// that an order could be addressed to.
	if !identity.ValidKey(q.Key) {
		s.o.Log.Warn("an enrolment without a public key is refused")
		return
	}
	a, err := s.join(ctx, q)
	if err != nil {
		s.o.Log.Warn("an enrolment is refused", "token", q.Token, "host", q.Host, "error", err)
		s.tell(Notice{Kind: Refused, Agent: q.Token, Name: q.Host, Words: err.Error()})
		a = fleet.JoinReply{Error: err.Error()}
	}
	e, err := s.signer.Seal(fleet.Envelope{To: q.Key, Kind: fleet.KindJoined, Issued: time.Now(), Body: encode(a)})
	if err != nil {
		s.o.Log.Error("an answer cannot be signed", "error", err)
		return
	}
	if err := m.RespondMsg(message(m.Reply, e)); err != nil {
		s.o.Log.Warn("an enrolment could not be answered", "error", err)
	}
}

func (s *Server) join(ctx context.Context, q fleet.JoinRequest) (a fleet.JoinReply, err error) {
	r, fresh, err := s.tokens.Redeem(ctx, s.roster, q.Token, q.Key)
	if err != nil {
		return a, err
	}
	if a, err = s.credentials(r); err != nil {
		return a, err
	}
	end := s.end()
	a.Head, a.Issued = end.Seq, later(time.Now(), end.Issued)
	if fresh {
		s.o.Log.Info("an agent has joined", "agent", r.ID, "name", r.Name, "host", q.Host)
		s.tell(Notice{Kind: Joined, Agent: r.ID, Name: r.Name, Words: fmt.Sprintf("agent %s (%s) has joined from %s", r.ID, r.Name, q.Host)})
	}
	return a, nil
}

// credentials are what an agent needs to connect.
func (s *Server) credentials(r identity.Record) (a fleet.JoinReply, err error) {
	jwt, err := s.o.Authority.Agent(r.ID, r.Name, r.Key)
	if err != nil {
		return a, err
	}
	return fleet.JoinReply{
		ID: r.ID, Name: r.Name, Groups: r.Groups, JWT: jwt, CA: string(s.o.Authority.CAPEM()),
		OrderKeys: []string{s.signer.Public()}, URLs: s.o.Public,
	}, nil
}

// serveRekey gives an agent that was told to change its key credentials for the
// new one.
func (s *Server) serveRekey(ctx context.Context, m *nats.Msg) {
	id, _ := fleet.Speaker(m.Subject)
	var q fleet.RekeyRequest
	err := fleet.Decode(m.Data, &q)
	var a fleet.RekeyReply
	if err == nil {
		a, err = s.rekey(ctx, id, q.Key)
	}
	if err != nil {
		s.o.Log.Warn("an agent cannot change its key", "agent", id, "error", err)
		a = fleet.RekeyReply{Error: err.Error()}
	}
	s.reply(m, a)
}

// rekey puts a new key in the place of an agent's. The old one is revoked
// when the agent was seen with the new one.
func (s *Server) rekey(ctx context.Context, id, key string) (a fleet.RekeyReply, err error) {
	r, err := s.roster.Rotate(ctx, id, key)
	if err != nil {
		return a, err
	}
	if a.JWT, err = s.o.Authority.Agent(r.ID, r.Name, r.Key); err != nil {
		return a, err
	}
	s.o.Log.Info("an agent has a new key", "agent", id)
	s.tell(Notice{Kind: Rekeyed, Agent: r.ID, Name: r.Name, Words: fmt.Sprintf("agent %s (%s) has a new key", r.ID, r.Name)})
	return a, nil
}

// Remove takes an agent out of the fleet: its connection is cut and its key is
// worth nothing any more.
func (s *Server) Remove(ctx context.Context, id string) (identity.Record, error) {
	r, err := s.roster.Remove(ctx, id)
	if err != nil {
		return r, err
	}
	s.presence.drop(id)
	if err := s.o.Ledger.Forget(ctx, id); err != nil {
		s.o.Log.Warn("a removed agent's responses are still in the list for a moment", "agent", id, "error", err) // see forgetRemoved
	}
	// Enforce would, too, a moment later.
	if err := s.o.Authority.Push(ctx, s.sys, s.roster.Revoked()); err != nil {
		return r, fmt.Errorf("agent %s is removed, but the broker does not know yet: %w", id, err)
	}
	s.tell(Notice{Kind: Gone, Agent: r.ID, Name: r.Name, Words: fmt.Sprintf("agent %s (%s) was removed", r.ID, r.Name)})
	return r, nil
}

// encode writes a structure that always can be written.
func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only structures of this package's own come here
	}
	return b
}
