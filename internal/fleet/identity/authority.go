// Package identity holds who may take part in a fleet and how each proves it:
// the authority of the servers, the enrolment tokens, the credentials of an
// agent and the roster of all of them.
//
// It is NATS's decentralised identity. An operator key vouches for accounts, an
// account for roles, and a role for users. A user proves with a signature that it
// holds its private key, which never travels. A broker needs only public keys and
// the accounts' claims, so an embedded one and an external cluster serve the same
// fleet in the same way.
//
// There are three accounts: the broker's own, the servers' (FLEET), which holds
// the streams, and the hosts' (AGENTS). Between the last two only the subjects of
// package fleet pass. One account would not do: a broker does not judge the
// subject on which a client wants its answer, and it answers an event itself, with
// all rights, so that an agent in the account of the streams could have the
// acknowledgement of its event written over the roster, or purge the orders with
// it.
//
// The TLS certificate of the broker comes from a CA of the authority's own, which
// agents pin; orders are signed with a key of their own, which agents pin too.
package identity

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nkeys"

	"riposte/internal/fleet"
	"riposte/internal/host"
)

// authorityFile is the one file of an authority: it is there whole or not at all.
const authorityFile = "authority.json"

// authorityVersion is the version of its format.
const authorityVersion = 1

// MaxPayload is the longest message that an agent or the holder of a token may
// send, in bytes, headers included; the broker cuts off whoever sends more.
// Servers may send MaxServerPayload: the claims of the hosts' account travel in
// one message and hold every revoked key, about 95 bytes each.
const (
	MaxPayload       = fleet.MaxMessage + 4<<10
	MaxServerPayload = 8 << 20
)

// maxAgentSubs is how many subscriptions an agent may hold. It needs three.
const maxAgentSubs = 16

// Authority is what a server needs to vouch for agents, brokers and orders.
// Whoever reads its file is the fleet's owner.
type Authority struct {
	dir string

	operator, system                 nkeys.KeyPair
	servers, hosts                   nkeys.KeyPair // the two accounts of the fleet
	agents, tokens                   nkeys.KeyPair // sign users of one role each
	order                            nkeys.KeyPair
	ca                               *x509.Certificate
	caPEM                            []byte
	caKey                            any
	operatorJWT, systemJWT, fleetJWT string

	mu    sync.Mutex
	names []string // of the broker, in its certificate
	leaf  *leaf    // the certificate in use; made when it is needed
}

// authorityRecord is the authority as it is stored.
type authorityRecord struct {
	Version  int       `json:"version"`
	Made     time.Time `json:"made"`
	Names    []string  `json:"names"`
	Operator string    `json:"operator"`
	System   string    `json:"system"`
	Servers  string    `json:"servers"`
	Hosts    string    `json:"hosts"`
	Agents   string    `json:"agents"`
	Tokens   string    `json:"tokens"`
	Order    string    `json:"order"`
	CA       string    `json:"ca"`
	CAKey    string    `json:"ca_key"`
}

// InitOptions are what a new authority is made of.
type InitOptions struct {
	// Names are the DNS names and addresses under which agents reach the broker.
	// The loopback names are always added.
	Names []string
}

// Init makes an authority in the directory dir, which it makes too. One that is
// there already is never overwritten: its agents would be lost.
func Init(dir string, o InitOptions) (*Authority, error) {
	path := filepath.Join(dir, authorityFile)
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("there is an authority already: %s; every agent trusts it, so it is not overwritten", path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := checkNames(o.Names); err != nil {
		return nil, err
	}
	if err := host.PrivateDir(dir); err != nil {
		return nil, fmt.Errorf("make the directory of the authority: %w", err)
	}
	if err := private(dir); err != nil {
		return nil, err
	}
	rec := authorityRecord{Version: authorityVersion, Made: time.Now().UTC().Truncate(time.Second), Names: o.Names}
	for _, k := range []struct {
		to   *string
		make func() (nkeys.KeyPair, error)
	}{
		{&rec.Operator, nkeys.CreateOperator},
		{&rec.System, nkeys.CreateAccount},
		{&rec.Servers, nkeys.CreateAccount},
		{&rec.Hosts, nkeys.CreateAccount},
		{&rec.Agents, nkeys.CreateAccount},
		{&rec.Tokens, nkeys.CreateAccount},
		{&rec.Order, nkeys.CreateUser},
	} {
		pair, err := k.make()
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		seed, err := pair.Seed()
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		*k.to = string(seed)
	}
	var err error
	if rec.CA, rec.CAKey, err = newCA(rec.Made); err != nil {
		return nil, fmt.Errorf("make the certificate authority: %w", err)
	}
	if err := rec.save(path); err != nil {
		return nil, err
	}
	return Open(dir)
}

func (r authorityRecord) save(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := host.ReplaceFile(path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("store the authority: %w", err)
	}
	return nil
}

// Open reads the authority in dir. It refuses one that others could have read
// or written.
func Open(dir string) (*Authority, error) {
	path := filepath.Join(dir, authorityFile)
	rec, err := readAuthority(path)
	if err != nil {
		return nil, err
	}
	a := &Authority{dir: dir, names: rec.Names, caPEM: []byte(rec.CA)}
	for _, k := range []struct {
		name, seed string
		prefix     nkeys.PrefixByte
		to         *nkeys.KeyPair
	}{
		{"operator", rec.Operator, nkeys.PrefixByteOperator, &a.operator},
		{"system", rec.System, nkeys.PrefixByteAccount, &a.system},
		{"servers", rec.Servers, nkeys.PrefixByteAccount, &a.servers},
		{"hosts", rec.Hosts, nkeys.PrefixByteAccount, &a.hosts},
		{"agents", rec.Agents, nkeys.PrefixByteAccount, &a.agents},
		{"tokens", rec.Tokens, nkeys.PrefixByteAccount, &a.tokens},
		{"order", rec.Order, nkeys.PrefixByteUser, &a.order},
	} {
		if prefix, _, err := nkeys.DecodeSeed([]byte(k.seed)); err != nil || prefix != k.prefix {
			return nil, fmt.Errorf("%s: the key %q is damaged: restore the file from a backup", path, k.name)
		}
		if *k.to, err = nkeys.FromSeed([]byte(k.seed)); err != nil {
			return nil, fmt.Errorf("%s: the key %q is damaged: restore the file from a backup", path, k.name)
		}
	}
	if a.ca, a.caKey, err = parseCA(rec.CA, rec.CAKey); err != nil {
		return nil, fmt.Errorf("%s: the certificate authority is damaged: %w: restore the file from a backup", path, err)
	}
	if err := a.claims(); err != nil {
		return nil, fmt.Errorf("open the authority: %w", err)
	}
	return a, nil
}

func readAuthority(path string) (rec authorityRecord, err error) {
	b, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return rec, fmt.Errorf("there is no authority of a fleet here (%s): make one with \"riposte server init\": %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return rec, fmt.Errorf("%s is damaged: %w: restore it from a backup", path, err)
	}
	if rec.Version != authorityVersion {
		return rec, fmt.Errorf("%s has format %d, this riposte reads %d: use the riposte that wrote it, or a newer one", path, rec.Version, authorityVersion)
	}
	return rec, nil
}

// Names are the names and addresses in the broker's certificate, as given.
func (a *Authority) Names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.names)
}

// SetNames changes the names in the broker's certificate, now and for good.
// Agents notice nothing: they pin the CA.
func (a *Authority) SetNames(names []string) error {
	if err := checkNames(names); err != nil {
		return err
	}
	path := filepath.Join(a.dir, authorityFile)
	a.mu.Lock()
	defer a.mu.Unlock()
	rec, err := readAuthority(path)
	if err != nil {
		return err
	}
	rec.Names = slices.Clone(names)
	if err := rec.save(path); err != nil {
		return err
	}
	a.names, a.leaf = rec.Names, nil
	return nil
}

// OrderSeed is the private key that signs orders.
func (a *Authority) OrderSeed() []byte {
	seed, err := a.order.Seed()
	if err != nil {
		panic(err) // Open made the pair from this seed
	}
	return seed
}

// OrderKey is its public half, which agents pin.
func (a *Authority) OrderKey() string { return publicOf(a.order) }

// publicOf returns the public key of a pair that Open made from a seed.
func publicOf(k nkeys.KeyPair) string {
	p, err := k.PublicKey()
	if err != nil {
		panic(err) // only a wiped or a public-only pair fails
	}
	return p
}
