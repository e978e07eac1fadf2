package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"

	"riposte"
	"riposte/internal/host"
)

// ErrNotRunning means that no riposte answers on the socket.
var ErrNotRunning = errors.New("the daemon is not running")

// Client talks to the daemon on its control socket. It is a Control.
type Client struct {
	http   http.Client
	socket string
}

var _ Control = (*Client)(nil)

// NewClient returns a client for the socket at path. It connects on first use.
func NewClient(path string) *Client {
	c := &Client{socket: path}
	c.http.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return host.DialControl(ctx, path) },
	}
	return c
}

// Close drops the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status implements Control.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.get(ctx, "/v1/status", Filter{}, &s)
	return s, err
}

// InForce implements Control.
func (c *Client) InForce(ctx context.Context, f Filter) (b []Block, err error) {
	err = c.get(ctx, "/v1/list", f, &b)
	return b, err
}

// History implements Control.
func (c *Client) History(ctx context.Context, f Filter) (r []riposte.Receipt, err error) {
	err = c.get(ctx, "/v1/history", f, &r)
	return r, err
}

// Why implements Control.
func (c *Client) Why(ctx context.Context, target string) (w Why, err error) {
	err = c.get(ctx, "/v1/why", Filter{Target: target}, &w)
	return w, err
}

// Offenders implements Control.
func (c *Client) Offenders(ctx context.Context, f Filter) (o []Offender, err error) {
	err = c.get(ctx, "/v1/offenders", f, &o)
	return o, err
}

// Block implements Control.
func (c *Client) Block(ctx context.Context, r BlockRequest) (rs []riposte.Receipt, err error) {
	err = c.post(ctx, "/v1/block", r, &rs)
	return rs, err
}

// Unblock implements Control.
func (c *Client) Unblock(ctx context.Context, r UnblockRequest) (rs []riposte.Receipt, err error) {
	err = c.post(ctx, "/v1/unblock", r, &rs)
	return rs, err
}

// Forgive implements Control.
func (c *Client) Forgive(ctx context.Context, r UnblockRequest) (n int, err error) {
	err = c.post(ctx, "/v1/forgive", r, &n)
	return n, err
}

// Arm implements Control.
func (c *Client) Arm(ctx context.Context, r ArmRequest) error {
	return c.post(ctx, "/v1/arm", r, &struct{}{})
}

// Confirm implements Control.
func (c *Client) Confirm(ctx context.Context, r ArmRequest) (was bool, err error) {
	err = c.post(ctx, "/v1/confirm", r, &was)
	return was, err
}

// Pause implements Control.
func (c *Client) Pause(ctx context.Context, r PauseRequest) (was bool, err error) {
	err = c.post(ctx, "/v1/pause", r, &was)
	return was, err
}

// Doctor implements Control.
func (c *Client) Doctor(ctx context.Context, r DoctorRequest) (d Diagnosis, err error) {
	err = c.post(ctx, "/v1/doctor", r, &d)
	return d, err
}

// Allow implements Control.
func (c *Client) Allow(ctx context.Context, r AllowRequest) (a Allowed, err error) {
	err = c.post(ctx, "/v1/allow", r, &a)
	return a, err
}

// Reload implements Control.
func (c *Client) Reload(ctx context.Context) (r Reloaded, err error) {
	err = c.post(ctx, "/v1/reload", struct{}{}, &r)
	return r, err
}

func (c *Client) get(ctx context.Context, path string, f Filter, into any) error {
	q := url.Values{}
	if f.Target != "" {
		q.Set("target", f.Target)
	}
	if f.Command != "" {
		q.Set("command", f.Command)
	}
	if f.Limit != 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	u := "http://riposte" + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	return c.do(req, into)
}

func (c *Client) post(ctx context.Context, path string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://riposte"+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	return c.do(req, into)
}

func (c *Client) do(req *http.Request, into any) error {
	resp, err := c.http.Do(req)
	if err != nil {
		return c.connectError(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refused(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}

// refused is the error that the daemon answered with.
func refused(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode}
	if b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody)); err != nil || json.Unmarshal(b, e) != nil || e.Message == "" {
		e.Message = "the daemon answered " + resp.Status
	}
	return e
}

func (c *Client) connectError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nothing answers on %s", ErrNotRunning, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no access to %s: the control socket is root's", c.socket)
	}
	return fmt.Errorf("ask the daemon on %s: %w", c.socket, err)
}
