package broker

import (
	"crypto/tls"
	"errors"
	"runtime"
	"sync"
	"time"
)

// gate lets only so many connections be set up at once. Ten thousand agents that
// come back together would otherwise all stand in the queue for nats-server's one
// lock, which each of them passes some ten times before it is in: everybody waits
// longer than anybody may, and comes again, and nobody ever gets in. Whoever
// stands at the gate costs next to nothing; whoever would wait there too long is
// turned away, and comes again later.
type gate struct {
	slots    chan struct{}
	patience time.Duration
	turn     func() // waits as long as the queue for the lock is
}

// perProcessor is how many connections each processor sets up at once: while one
// computes, others wait for the network.
const perProcessor = 8

// held is how long a handshake keeps its place at most. One that is slow, or that
// its client has given up, does not compute.
const held = time.Second

var errBusy = errors.New("too many connections come at once: it has to come again")

// newGate returns a gate without a turn, which is to be set before it is passed.
func newGate(patience time.Duration) *gate {
	return &gate{slots: make(chan struct{}, perProcessor*runtime.GOMAXPROCS(0)), patience: patience}
}

// guard returns a configuration whose handshakes pass the gate when the client
// has said its first word, and leave it when TLS is done.
func (g *gate) guard(base *tls.Config) *tls.Config {
	c := base.Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		leave, ok := g.enter()
		if !ok {
			return nil, errBusy
		}
		own := base.Clone()
		own.VerifyConnection = func(tls.ConnectionState) error {
			leave()
			return nil
		}
		return own, nil
	}
	return c
}

// enter waits for a place. leave gives it back, and may be called again.
func (g *gate) enter() (leave func(), ok bool) {
	select {
	case g.slots <- struct{}{}:
	default:
		t := time.NewTimer(g.patience)
		defer t.Stop()
		select {
		case g.slots <- struct{}{}:
		case <-t.C:
			return nil, false
		}
	}
	// What is still under way behind the gate shows in the queue: the next one
	// is let in at the pace at which the broker gets done.
	g.turn()
	var once sync.Once
	free := func() { once.Do(func() { <-g.slots }) }
	late := time.AfterFunc(held, free)
	return func() {
		late.Stop()
		free()
	}, true
}
