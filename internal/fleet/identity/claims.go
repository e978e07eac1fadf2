package identity

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"riposte/internal/fleet"
)

// ClaimsSubject takes new claims of an account, from a system user.
const ClaimsSubject = "$SYS.REQ.CLAIMS.UPDATE"

// claims makes what the operator vouches for. The signatures are made anew at
// every start, so that a newer riposte's wishes reach a broker.
func (a *Authority) claims() (err error) {
	op := jwt.NewOperatorClaims(publicOf(a.operator))
	op.Name = "riposte"
	op.SystemAccount = publicOf(a.system)
	if a.operatorJWT, err = op.Encode(a.operator); err != nil {
		return err
	}
	sys := jwt.NewAccountClaims(publicOf(a.system))
	sys.Name = "SYS"
	if a.systemJWT, err = sys.Encode(a.operator); err != nil {
		return err
	}
	a.fleetJWT, err = a.fleetClaims().Encode(a.operator)
	return err
}

// OperatorJWT is what a broker trusts.
func (a *Authority) OperatorJWT() string { return a.operatorJWT }

// SystemAccount is the broker's own account, public key and claims.
func (a *Authority) SystemAccount() (key, claims string) { return publicOf(a.system), a.systemJWT }

// FleetAccount is the account of the servers and their streams.
func (a *Authority) FleetAccount() (key, claims string) { return publicOf(a.servers), a.fleetJWT }

// Account is the public key of the hosts' account; [Authority.AccountJWT] writes
// its claims.
func (a *Authority) Account() string { return publicOf(a.hosts) }

// The subjects that pass from the hosts to the servers. An answer goes back to
// the hosts' account, whatever subject was named for it. Presence has no answer,
// but as a stream it would take the answers that an agent has delivered to
// another's subject for that one's, which a request does not.
func requests() []string {
	return []string{
		fleet.EventSubject("*"), fleet.ReceiptSubject("*"), fleet.PresenceSubject("*"), fleet.SyncSubject("*"), fleet.RekeySubject("*"),
		fleet.JoinSubject,
	}
}

// unanswered is how long the broker remembers a request without an answer.
const unanswered = 30 * time.Second

// fleetClaims are those of the servers' account.
func (a *Authority) fleetClaims() *jwt.AccountClaims {
	c := jwt.NewAccountClaims(publicOf(a.servers))
	c.Name = "FLEET"
	c.Limits.JetStreamLimits = jwt.JetStreamLimits{
		MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit,
	}
	for _, s := range requests() {
		c.Exports.Add(&jwt.Export{
			Name: s, Subject: jwt.Subject(s), Type: jwt.Service, ResponseType: jwt.ResponseTypeSingleton, ResponseThreshold: unanswered,
		})
	}
	c.Exports.Add(&jwt.Export{Name: "orders", Subject: jwt.Subject(fleet.LiveSubject(">")), Type: jwt.Stream})
	return c
}

// forever is until when the credentials of a revoked key are worth nothing. A
// broker compares it with when they were issued, and neither the clock of the
// server that issued them nor how late it heard of the removal may count: no key
// comes back.
var forever = time.Unix(9_999_999_999, 0)

// AccountJWT writes the claims of the hosts' account: what each role may do, and
// which users' keys are revoked. Credentials for such a key are worth nothing,
// whenever they were issued.
//
// What a role may do stands here and not in the credentials of its users, so
// that a newer riposte can change it without giving every agent new ones.
func (a *Authority) AccountJWT(revoked []string) (string, error) {
	c := jwt.NewAccountClaims(publicOf(a.hosts))
	c.Name = "AGENTS"
	servers := publicOf(a.servers)
	for _, s := range requests() {
		c.Imports.Add(&jwt.Import{Name: s, Account: servers, Subject: jwt.Subject(s), Type: jwt.Service})
	}
	c.Imports.Add(&jwt.Import{Name: "orders", Account: servers, Subject: jwt.Subject(fleet.LiveSubject(">")), Type: jwt.Stream})
	// A broker that takes new claims has no imports for a moment. It binds
	// subscriptions of that moment later only when the imports are not those of the
	// claims before: an agent that connected just then would hear no order.
	c.Imports.Add(&jwt.Import{Name: "these claims", Account: servers, Subject: jwt.Subject(fleet.LiveSubject("claims-" + rand.Text())), Type: jwt.Stream})
	c.SigningKeys.AddScopedSigner(role(a.agents, "agent", maxAgentSubs,
		[]string{
			fleet.EventSubject(self), fleet.ReceiptSubject(self), fleet.PresenceSubject(self),
			fleet.SyncSubject(self), fleet.RekeySubject(self),
		},
		[]string{fleet.LiveSubject(fleet.All), fleet.LiveSubject(self), fleet.Inbox(self) + ".>"}))
	c.SigningKeys.AddScopedSigner(role(a.tokens, "token", 2,
		[]string{fleet.JoinSubject}, []string{fleet.JoinInbox(self) + ".>"}))
	for _, key := range revoked {
		c.RevokeAt(key, forever)
	}
	text, err := c.Encode(a.operator)
	if err != nil {
		return "", fmt.Errorf("write the claims of the hosts' account: %w", err)
	}
	return text, nil
}

// NodeJWT writes the claims of the hosts' account for a broker that is set up: as
// those of AccountJWT that revoke nothing, and older than all of them. Brokers
// keep the newest claims that they hear of, so that a new one, which knows of no
// removal, must not be believed by the others of its cluster.
func (a *Authority) NodeJWT() (string, error) {
	text, err := a.AccountJWT(nil)
	if err != nil {
		return "", err
	}
	if text, err = reissue(text, time.Unix(1, 0), a.operator); err != nil {
		return "", fmt.Errorf("write the claims of the hosts' account: %w", err)
	}
	return text, nil
}

// reissue makes claims that were issued at another time. (The library knows only
// the time of writing.)
func reissue(text string, at time.Time, key nkeys.KeyPair) (string, error) {
	head, rest, _ := strings.Cut(text, ".")
	body, _, _ := strings.Cut(rest, ".")
	plain, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return "", err
	}
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(plain, &claims); err != nil {
		return "", err
	}
	claims["iat"] = strconv.AppendInt(nil, at.Unix(), 10)
	claims["jti"] = json.RawMessage(`"reissued"`) // brokers take claims of one id for the same; the library makes it of subject and time
	if plain, err = json.Marshal(claims); err != nil {
		return "", err
	}
	signed := head + "." + base64.RawURLEncoding.EncodeToString(plain)
	sig, err := key.Sign([]byte(signed))
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}

// self is replaced by the broker with the name in a user's credentials: the id
// of the agent or of the token.
const self = "{{name()}}"

func role(key nkeys.KeyPair, name string, subs int64, publish, subscribe []string) *jwt.UserScope {
	s := jwt.NewUserScope()
	s.Key, s.Role = publicOf(key), name
	s.Template.Pub.Allow.Add(publish...)
	s.Template.Sub.Allow.Add(subscribe...)
	s.Template.Limits.Subs, s.Template.Limits.Payload, s.Template.Limits.Data = subs, MaxPayload, jwt.NoLimit
	s.Template.AllowedConnectionTypes.Add(jwt.ConnectionTypeStandard)
	return s
}

// Agent writes the credentials of an agent for its public key. name is for
// people who look at a broker's connections.
func (a *Authority) Agent(id, name, publicKey string) (string, error) {
	if !fleet.ValidID(id) {
		return "", fmt.Errorf("credentials for agent %q: not an agent's id", id)
	}
	return a.user(a.agents, id, publicKey, time.Time{}, "agent:"+name)
}

// user writes the credentials of a user in a role.
func (a *Authority) user(role nkeys.KeyPair, name, publicKey string, expires time.Time, tag string) (string, error) {
	if !nkeys.IsValidPublicUserKey(publicKey) {
		return "", fmt.Errorf("credentials for %s: %q is not the public key of a user", name, publicKey)
	}
	c := jwt.NewUserClaims(publicKey)
	c.Name = name
	c.IssuerAccount = publicOf(a.hosts)
	c.SetScoped(true)
	c.Tags.Add(tag)
	if !expires.IsZero() {
		c.Expires = expires.Unix()
	}
	text, err := c.Encode(role)
	if err != nil {
		return "", fmt.Errorf("credentials for %s: %w", name, err)
	}
	return text, nil
}

// ServerUser makes a user with all rights within the servers' account. It lives
// as long as the process that made it remembers the seed.
func (a *Authority) ServerUser() (claims string, seed []byte, err error) {
	return ownUser(a.servers, func(c *jwt.UserClaims) { c.Name = "server" })
}

// SystemUser makes a user that may tell a broker of new claims of accounts, and
// hear of the connections of the hosts'.
func (a *Authority) SystemUser() (claims string, seed []byte, err error) {
	return ownUser(a.system, func(c *jwt.UserClaims) {
		c.Name = "server"
		c.Pub.Allow.Add(ClaimsSubject, lookupSubject(a.Account()))
		c.Sub.Allow.Add("_INBOX.>", "$SYS.ACCOUNT."+a.Account()+".>")
	})
}

func ownUser(account nkeys.KeyPair, fill func(*jwt.UserClaims)) (claims string, seed []byte, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", nil, fmt.Errorf("make a user: %w", err)
	}
	if seed, err = pair.Seed(); err != nil {
		return "", nil, fmt.Errorf("make a user: %w", err)
	}
	c := jwt.NewUserClaims(publicOf(pair))
	fill(c)
	if claims, err = c.Encode(account); err != nil {
		return "", nil, fmt.Errorf("make a user: %w", err)
	}
	return claims, seed, nil
}

// ServerOptions connect a server to the servers' account. For an embedded broker
// the broker's own Options follow them.
func (a *Authority) ServerOptions() ([]nats.Option, error) { return a.options(a.ServerUser()) }

// SystemOptions connect a server to the broker's own account.
func (a *Authority) SystemOptions() ([]nats.Option, error) { return a.options(a.SystemUser()) }

func (a *Authority) options(claims string, seed []byte, err error) ([]nats.Option, error) {
	if err != nil {
		return nil, err
	}
	return []nats.Option{secure(a.ClientTLS()), user(claims, seed)}, nil
}
