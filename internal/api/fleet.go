package api

import (
	"context"
	"net/http"
	"time"

	"riposte"
)

// FleetControl is what a server offers beside Control. On a host that is no
// server every call is refused with words.
type FleetControl interface {
	// Agents returns the enrolled agents, by id.
	Agents(ctx context.Context) ([]Agent, error)
	// Enrol makes an enrolment token.
	Enrol(ctx context.Context, r EnrolRequest) (EnrolReply, error)
	// Tokens returns the enrolment tokens of the last months, the newest first.
	Tokens(ctx context.Context) ([]Token, error)
	// Withdraw makes a token worthless that was not used yet.
	Withdraw(ctx context.Context, r TokenRequest) (Token, error)
	// Remove takes an agent out of the fleet.
	Remove(ctx context.Context, r AgentRequest) (Agent, error)
	// Rotate has an agent change its key.
	Rotate(ctx context.Context, r AgentRequest) (Agent, error)
	// Describe sets an agent's groups and labels.
	Describe(ctx context.Context, r DescribeRequest) (Agent, error)
	// Import takes over ids and names from a client.keys file.
	Import(ctx context.Context, r ImportRequest) (Imported, error)
	// FleetInForce returns what is in force on all hosts, this one included.
	FleetInForce(ctx context.Context, f Filter) ([]Block, error)
	// Progress counts what became of an order, by outcome.
	Progress(ctx context.Context, r ProgressRequest) (OrderProgress, error)
}

// Agent is an agent as its server knows it.
type Agent struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Groups   []string          `json:"groups,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Address  string            `json:"address,omitempty"`
	State    string            `json:"state"` // connected, silent, never seen, not joined
	Seen     time.Time         `json:"seen,omitzero"`
	Since    time.Time         `json:"since,omitzero"` // its start
	Created  time.Time         `json:"created"`
	Version  string            `json:"version,omitempty"`
	OS       string            `json:"os,omitempty"`
	Host     string            `json:"host,omitempty"`
	InForce  int               `json:"in_force"`
	Lag      int               `json:"lag"` // records of events that wait on it
	LagBytes int64             `json:"lag_bytes"`
	LagSince time.Time         `json:"lag_since,omitzero"`
	Dropped  uint64            `json:"dropped,omitempty"`
	Behind   uint64            `json:"behind"` // orders and undos of the fleet it has not dealt with
	Bundle   uint64            `json:"bundle"` // version of the configuration it uses
	Current  uint64            `json:"bundle_current"`
	Problem  string            `json:"problem,omitempty"`
	Analyses bool              `json:"analyses,omitempty"` // it judges what it reads, too
	Skew     time.Duration     `json:"skew"`               // its clock less the server's
}

// EnrolRequest asks for a token.
type EnrolRequest struct {
	Name   string        `json:"name"`
	Groups []string      `json:"groups,omitempty"`
	For    time.Duration `json:"for,omitempty"` // 0: an hour
	Asker
}

// EnrolReply holds a token.
type EnrolReply struct {
	ID      string    `json:"id"` // by which it can be withdrawn
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

// Token is what is known of an enrolment token. The secret in it is not.
type Token struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"` // of the agent that is to join with it
	Groups  []string  `json:"groups,omitempty"`
	By      string    `json:"by"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	State   string    `json:"state"`             // good, expired, withdrawn, used by agent 001
	Refused int       `json:"refused"`           // other hosts that tried it after its use
	Problem string    `json:"problem,omitempty"` // what that means
}

// TokenRequest names a token by its id.
type TokenRequest struct {
	Token string `json:"token"`
	Asker
}

// AgentRequest names an agent by its id or name.
type AgentRequest struct {
	Agent string `json:"agent"`
	Asker
}

// DescribeRequest changes what an agent is called together with others by.
type DescribeRequest struct {
	Agent  string            `json:"agent"`
	Groups []string          `json:"groups"`
	Labels map[string]string `json:"labels"`
	Asker
}

// ImportRequest names a client.keys file on the server.
type ImportRequest struct {
	Path string `json:"path"`
	Asker
}

// Imported says what an import did.
type Imported struct {
	Agents []Agent `json:"agents"` // those that are new
}

// ProgressRequest asks what became of an order.
type ProgressRequest struct {
	Order string `json:"order"`
}

// OrderProgress is how far an order got.
type OrderProgress struct {
	Hosts    int                     `json:"hosts"` // it is addressed to
	Answered int                     `json:"answered"`
	Outcomes map[riposte.Outcome]int `json:"outcomes"`
}

func fleetRoutes(mux *http.ServeMux, c FleetControl) {
	get(mux, "/v1/fleet/agents", func(ctx context.Context, _ Filter) ([]Agent, error) { return c.Agents(ctx) })
	get(mux, "/v1/fleet/list", c.FleetInForce)
	get(mux, "/v1/fleet/tokens", func(ctx context.Context, _ Filter) ([]Token, error) { return c.Tokens(ctx) })
	post(mux, "/v1/fleet/enrol", c.Enrol)
	post(mux, "/v1/fleet/withdraw", c.Withdraw)
	post(mux, "/v1/fleet/remove", c.Remove)
	post(mux, "/v1/fleet/rotate", c.Rotate)
	post(mux, "/v1/fleet/describe", c.Describe)
	post(mux, "/v1/fleet/import", c.Import)
	post(mux, "/v1/fleet/progress", c.Progress)
}

// Agents implements FleetControl.
func (c *Client) Agents(ctx context.Context) (out []Agent, err error) {
	err = c.get(ctx, "/v1/fleet/agents", Filter{}, &out)
	return out, err
}

// FleetInForce implements FleetControl.
func (c *Client) FleetInForce(ctx context.Context, f Filter) (out []Block, err error) {
	err = c.get(ctx, "/v1/fleet/list", f, &out)
	return out, err
}

// Enrol implements FleetControl.
func (c *Client) Enrol(ctx context.Context, r EnrolRequest) (out EnrolReply, err error) {
	err = c.post(ctx, "/v1/fleet/enrol", r, &out)
	return out, err
}

// Tokens implements FleetControl.
func (c *Client) Tokens(ctx context.Context) (out []Token, err error) {
	err = c.get(ctx, "/v1/fleet/tokens", Filter{}, &out)
	return out, err
}

// Withdraw implements FleetControl.
func (c *Client) Withdraw(ctx context.Context, r TokenRequest) (out Token, err error) {
	err = c.post(ctx, "/v1/fleet/withdraw", r, &out)
	return out, err
}

// Remove implements FleetControl.
func (c *Client) Remove(ctx context.Context, r AgentRequest) (out Agent, err error) {
	err = c.post(ctx, "/v1/fleet/remove", r, &out)
	return out, err
}

// Rotate implements FleetControl.
func (c *Client) Rotate(ctx context.Context, r AgentRequest) (out Agent, err error) {
	err = c.post(ctx, "/v1/fleet/rotate", r, &out)
	return out, err
}

// Describe implements FleetControl.
func (c *Client) Describe(ctx context.Context, r DescribeRequest) (out Agent, err error) {
	err = c.post(ctx, "/v1/fleet/describe", r, &out)
	return out, err
}

// Import implements FleetControl.
func (c *Client) Import(ctx context.Context, r ImportRequest) (out Imported, err error) {
	err = c.post(ctx, "/v1/fleet/import", r, &out)
	return out, err
}

// Progress implements FleetControl.
func (c *Client) Progress(ctx context.Context, r ProgressRequest) (out OrderProgress, err error) {
	err = c.post(ctx, "/v1/fleet/progress", r, &out)
	return out, err
}
