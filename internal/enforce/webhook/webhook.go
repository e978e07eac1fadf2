// Package webhook answers an alert with an HTTP POST: one JSON document of
// riposte's own form, or a message as Slack, Mattermost and Rocket.Chat take
// it. It stands in for ossec-slack.sh and wazuh-slack, and unlike the latter it
// never posts on undo. A post is one-time and cannot be taken back.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

// Form says what is posted.
type Form uint8

// The forms.
const (
	Plain Form = iota // the response and the whole alert
	Slack             // a message with one attachment
)

// Options say where and how to post.
type Options struct {
	Form        Form
	URL         string                      // "" if every command brings its own as an extra argument
	Host        string                      // name of this host; "" for the system's
	Limit       time.Duration               // for one try; 0 for 10 s
	Tries       int                         // 0 for three
	Pause       time.Duration               // before the second try, twice that before the third; 0 for a second
	EncodeAlert func(*riposte.Alert) []byte // one alert as JSON; nil: the plain form goes without
}

// longest is the longest wait that a server may ask for between two tries.
const longest = 30 * time.Second

// Webhook is the mechanism.
type Webhook struct {
	o      Options
	client *http.Client
}

var _ enforce.Parallel = (*Webhook)(nil)

// New returns the mechanism, or an error when the address is none.
func New(o Options) (*Webhook, error) {
	if o.URL != "" {
		if err := valid(o.URL); err != nil {
			return nil, err
		}
	}
	if o.Host == "" {
		o.Host, _ = os.Hostname()
	}
	if o.Limit <= 0 {
		o.Limit = 10 * time.Second
	}
	if o.Tries <= 0 {
		o.Tries = 3
	}
	if o.Pause <= 0 {
		o.Pause = time.Second
	}
	return &Webhook{o: o, client: &http.Client{
		// An address that moved is a setting to mend, not to follow with an alert
		// in hand.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func valid(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("webhook: the address is no http:// or https:// URL") // it may be a secret
	}
	return nil
}

// Name is "webhook" or "slack".
func (w *Webhook) Name() string {
	if w.o.Form == Slack {
		return "slack"
	}
	return "webhook"
}

// Kind is None: a post acts on nothing.
func (w *Webhook) Kind() riposte.Kind { return riposte.None }

// Durable is false: there is nothing to take back.
func (w *Webhook) Durable() bool { return false }

// Parallel is how many may be on their way at a time: one server that does not
// answer is not to hold up what goes to another.
func (w *Webhook) Parallel() int { return 4 }

// Apply posts each effect, to the first extra argument of its command that is
// an address, else to the one that is set.
func (w *Webhook) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	out := make([]enforce.Result, len(effects))
	for i := range effects {
		out[i] = enforce.Result{NoUndo: true, Err: w.post(ctx, &effects[i])}
	}
	return out
}

// Undo does nothing: what is posted is posted.
func (w *Webhook) Undo(_ context.Context, effects []enforce.Effect) []enforce.Result {
	out := make([]enforce.Result, len(effects))
	for i := range out {
		out[i].NoUndo = true
	}
	return out
}

func (w *Webhook) post(ctx context.Context, e *enforce.Effect) error {
	to := w.o.URL
	for _, a := range e.Command.ExtraArgs {
		if strings.HasPrefix(a, "http://") || strings.HasPrefix(a, "https://") {
			to = a
			break
		}
	}
	if to == "" {
		return fmt.Errorf("%s: no address to post to: give it in the command's <extra_args> or in the settings", w.Name())
	}
	if err := valid(to); err != nil {
		return err
	}
	body, err := w.body(e)
	if err != nil {
		return fmt.Errorf("%s: %w", w.Name(), err)
	}
	pause := w.o.Pause
	for n := 1; ; n++ {
		again, err := w.try(ctx, to, body)
		if err == nil || again == 0 || n == w.o.Tries {
			return err
		}
		t := time.NewTimer(max(pause, again))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
		pause *= 2
	}
}

// try posts once. again is how long to wait at least before another try, 0
// when another would fare no better.
func (w *Webhook) try(ctx context.Context, to string, body []byte) (again time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.o.Limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", w.Name(), bare(err))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "riposte")
	where := w.Name() + " at " + req.URL.Host
	resp, err := w.client.Do(req)
	if err != nil {
		return 1, fmt.Errorf("%s: %w", where, bare(err))
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return 0, nil
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		again = 1
		if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
			again = min(time.Duration(n)*time.Second, longest)
		}
	}
	return again, fmt.Errorf("%s: %s: %s", where, resp.Status, enforce.OneLine(strings.TrimSpace(string(said)), 200))
}

// bare takes the address from an error: a webhook's address is its password.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (w *Webhook) body(e *enforce.Effect) ([]byte, error) {
	if w.o.Form == Slack {
		return json.Marshal(w.message(e))
	}
	return json.Marshal(w.document(e))
}
