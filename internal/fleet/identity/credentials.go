package identity

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"riposte/internal/fleet"
	"riposte/internal/host"
)

// credentialsFile is the one file of an agent's credentials.
const credentialsFile = "agent.json"

// Credentials are what an agent is in a fleet.
type Credentials struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Groups    []string `json:"groups,omitempty"`
	JWT       string   `json:"jwt"`
	Seed      []byte   `json:"seed"`       // private key; made by the agent, never sent
	CA        []byte   `json:"ca"`         // PEM: the only authority whose brokers are believed
	OrderKeys []string `json:"order_keys"` // whose orders are obeyed
	URLs      []string `json:"urls"`

	Joined  fleet.Place `json:"joined,omitzero"`     // in the log of orders: what came before is not meant for it
	Rotated time.Time   `json:"rotated_by,omitzero"` // when the order was issued that the key came of, if it is not the first
}

// NewKey makes the key pair of an agent.
func NewKey() (seed []byte, public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, "", fmt.Errorf("make a key: %w", err)
	}
	if seed, err = pair.Seed(); err != nil {
		return nil, "", fmt.Errorf("make a key: %w", err)
	}
	return seed, publicOf(pair), nil
}

// ValidKey reports whether text is the public key of an agent's pair, in its one
// spelling: nkeys passes over what stands behind a key, and by another spelling
// a key would not be known again.
func ValidKey(text string) bool {
	raw, err := nkeys.Decode(nkeys.PrefixByteUser, []byte(text))
	if err != nil || !nkeys.IsValidPublicUserKey(text) {
		return false
	}
	again, err := nkeys.Encode(nkeys.PrefixByteUser, raw)
	return err == nil && string(again) == text
}

// Save stores the credentials in the directory dir, for the owner's eyes only; a
// directory that others get into is refused. At any instant the old or the new
// are there whole.
func (c *Credentials) Save(dir string) error {
	if err := host.PrivateDir(dir); err != nil {
		return fmt.Errorf("make the directory of the credentials: %w", err)
	}
	if err := private(dir); err != nil {
		return fmt.Errorf("store the credentials: %w", err)
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := host.ReplaceFile(filepath.Join(dir, credentialsFile), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("store the credentials: %w", err)
	}
	return nil
}

// LoadCredentials reads what Save stored. An error that is fs.ErrNotExist says
// that this host has joined no fleet.
func LoadCredentials(dir string) (*Credentials, error) {
	path := filepath.Join(dir, credentialsFile)
	b, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("this host has joined no fleet (%s is not there): join with \"riposte agent join TOKEN\": %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	c := new(Credentials)
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w: restore it from a backup, or remove the agent and join anew", path, err)
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w: restore it from a backup, or remove the agent and join anew", path, err)
	}
	return c, nil
}

// Check finds credentials that cannot be anybody's.
func (c *Credentials) Check() error {
	switch {
	case !fleet.ValidID(c.ID):
		return fmt.Errorf("%q is not an agent's id", c.ID)
	case c.JWT == "":
		return errors.New("no JWT")
	}
	if err := checkTrust(c.Seed, c.OrderKeys, c.URLs, c.CA); err != nil {
		return err
	}
	_, err := c.claims()
	return err
}

// claims reads what the JWT says, and whether it says it of this agent and key.
func (c *Credentials) claims() (*jwt.UserClaims, error) {
	claims, err := jwt.DecodeUserClaims(c.JWT)
	if err != nil {
		return nil, fmt.Errorf("the JWT: %w", err)
	}
	key, err := c.PublicKey()
	if err != nil {
		return nil, err
	}
	if claims.Name != c.ID || claims.Subject != key {
		return nil, fmt.Errorf("the JWT is of %q with the key %q, expected %s with %s", clip(claims.Name), clip(claims.Subject), c.ID, key)
	}
	return claims, nil
}

// Renewed returns the credentials with the key that was begun with in place of
// the old one, or an error when the JWT is not one that the same authority made
// for this agent and that key.
func (c *Credentials) Renewed(p Pending, claims string) (*Credentials, error) {
	old, err := c.claims()
	if err != nil {
		return nil, err
	}
	next := *c
	next.Seed, next.JWT, next.Rotated = p.Seed, claims, p.Ordered
	if err := next.Check(); err != nil {
		return nil, err
	}
	now, err := next.claims()
	if err != nil {
		return nil, err
	}
	if now.Issuer != old.Issuer || now.IssuerAccount != old.IssuerAccount {
		return nil, fmt.Errorf("the JWT is another authority's: it was issued by %s, expected %s", clip(now.Issuer), old.Issuer)
	}
	return &next, nil
}

// checkTrust finds what nobody can connect with: a private key, whose orders are
// obeyed, and the brokers.
func checkTrust(seed []byte, orderKeys, urls []string, ca []byte) error {
	if len(orderKeys) == 0 {
		return errors.New("no key whose orders are to be obeyed")
	}
	for _, k := range orderKeys {
		if !nkeys.IsValidPublicUserKey(k) {
			return fmt.Errorf("%q is not a public key", clip(k))
		}
	}
	if _, err := nkeys.FromSeed(seed); err != nil {
		return errors.New("no private key")
	}
	_, err := transport(urls, ca)
	return err
}

// PublicKey is the public half of the agent's key.
func (c *Credentials) PublicKey() (string, error) { return publicFromSeed(c.Seed) }

// Options connect the agent to the broker at URLs, or say why they cannot.
func (c *Credentials) Options() []nats.Option {
	return options(c.URLs, c.CA, c.JWT, c.Seed, fleet.Inbox(c.ID), "riposte agent "+c.ID+" "+c.Name)
}

// options connect a user. What is wrong with them is said by nats.Connect.
func options(urls []string, ca []byte, claims string, seed []byte, inbox, name string) []nats.Option {
	guard, err := transport(urls, ca)
	if err != nil {
		return []nats.Option{func(*nats.Options) error { return err }}
	}
	return []nats.Option{
		guard, user(claims, seed), nats.CustomInboxPrefix(inbox), nats.Name(name),
		// Where the brokers are is said by the authority, not by a broker.
		nats.IgnoreDiscoveredServers(),
	}
}

// transport returns how the brokers at urls are to be connected to: TLS with the
// pinned CA, or in plain text when all of them are nats:// on this very host.
func transport(urls []string, caPEM []byte) (nats.Option, error) {
	plain, err := allPlain(urls)
	if err != nil {
		return nil, err
	}
	if plain {
		return func(*nats.Options) error { return nil }, nil
	}
	block, _ := pem.Decode(caPEM)
	if block == nil {
		return nil, errors.New("no certificate authority to believe: a broker without one is not connected to")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the certificate authority: %w", err)
	}
	return secure(pinned(ca)), nil
}

// allPlain reports whether the brokers are spoken to in plain text, which is
// for loopback only.
func allPlain(urls []string) (bool, error) {
	if len(urls) == 0 {
		return false, errors.New("no broker's URL")
	}
	plain := 0
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.User != nil {
			return false, fmt.Errorf("%q is not a broker's URL: expected one like tls://broker.example:4222", text)
		}
		switch u.Scheme {
		case "tls":
		case "nats":
			if !Loopback(u.Hostname()) {
				return false, fmt.Errorf("%s would be spoken to in plain text, which is for the own host only: write tls:// and use TLS", text)
			}
			plain++
		default:
			return false, fmt.Errorf("%q: expected a URL that begins with tls://", text)
		}
	}
	if plain > 0 && plain < len(urls) {
		return false, fmt.Errorf("the brokers %s are partly plain text and partly TLS: write tls:// everywhere", strings.Join(urls, " "))
	}
	return plain > 0, nil
}

// Loopback reports whether host is an address of the loopback interface. A name
// is not, whatever it resolves to now.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// secure makes a connection TLS from its first byte.
func secure(c *tls.Config) nats.Option {
	return func(o *nats.Options) error {
		o.Secure, o.TLSConfig, o.TLSHandshakeFirst = true, c, true
		return nil
	}
}

// user proves who connects with a signature over the broker's nonce.
func user(claims string, seed []byte) nats.Option {
	return nats.UserJWT(
		func() (string, error) { return claims, nil },
		func(nonce []byte) ([]byte, error) {
			pair, err := nkeys.FromSeed(seed)
			if err != nil {
				return nil, err
			}
			defer pair.Wipe()
			return pair.Sign(nonce)
		})
}

func publicFromSeed(seed []byte) (string, error) {
	pair, err := nkeys.FromSeed(seed)
	if err != nil {
		return "", fmt.Errorf("the private key: %w", err)
	}
	return pair.PublicKey()
}
