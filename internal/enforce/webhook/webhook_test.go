package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

// hook is a server that keeps what is posted and answers with the statuses it
// is told, then with 200.
type hook struct {
	mu       sync.Mutex
	statuses []int
	header   http.Header
	bodies   []string
	paths    []string
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		b = []byte("a " + r.Method + " of " + r.Header.Get("Content-Type"))
	}
	h.bodies = append(h.bodies, string(b))
	h.paths = append(h.paths, r.URL.Path)
	if len(h.statuses) > 0 {
		for k := range h.header {
			w.Header().Set(k, h.header.Get(k))
		}
		w.WriteHeader(h.statuses[0])
		io.WriteString(w, "no \x1b[31mtoken\n")
		h.statuses = h.statuses[1:]
	}
}

func (h *hook) open(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL + "/services/secret"
}

func newHook(t *testing.T, o Options) *Webhook {
	t.Helper()
	o.Host, o.Pause = "web-01", time.Millisecond
	if o.EncodeAlert == nil {
		o.EncodeAlert = func(a *riposte.Alert) []byte { return []byte(`{"id":"` + a.ID + `"}`) }
	}
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func effect() enforce.Effect {
	return enforce.Effect{
		Order:   "o1",
		Command: riposte.Command{Name: "notify", Executable: "wazuh-slack"},
		Target:  riposte.Target{Kind: riposte.Address, Value: "192.0.2.7"},
		By:      "rule 5712",
		Alert: &riposte.Alert{
			ID: "1795408700.7", Time: time.Unix(1795408700, 0), Location: "/var/log/auth.log",
			Rule:    riposte.Rule{ID: 5712, Level: 10, Description: "brute force"},
			FullLog: "Failed password for <!channel> & \x1b[2J <http://evil|click> from 192.0.2.7",
		},
	}
}

func post(t *testing.T, w *Webhook, e enforce.Effect) error {
	t.Helper()
	r := w.Apply(t.Context(), []enforce.Effect{e})
	if len(r) != 1 || !r[0].NoUndo {
		t.Fatalf("results %+v, expected one without undo", r)
	}
	return r[0].Err
}

func TestForms(t *testing.T) {
	f := func(form Form, e enforce.Effect, want string) {
		t.Helper()
		h := &hook{}
		if err := post(t, newHook(t, Options{Form: form, URL: h.open(t)}), e); err != nil {
			t.Fatal(err)
		}
		if len(h.bodies) != 1 || h.bodies[0] != want {
			t.Errorf("posted\n%s\nexpected\n%s", h.bodies, want)
		}
	}
	hand := effect()
	hand.Alert, hand.By = nil, "uid 0 (root)"
	f(Plain, effect(), `{"host":"web-01","order":"o1","command":"notify","target":{"kind":"address","value":"192.0.2.7"},"by":"rule 5712","alert":{"id":"1795408700.7"}}`)
	f(Plain, hand, `{"host":"web-01","order":"o1","command":"notify","target":{"kind":"address","value":"192.0.2.7"},"by":"uid 0 (root)"}`)
	amp := func(s string) string { // as encoding/json writes it
		return strings.NewReplacer("&", `\u0026`).Replace(s)
	}
	f(Slack, effect(), amp(`{"text":"Riposte on web-01","attachments":[{"color":"danger","fallback":"brute force","title":"brute force",`+
		`"text":"Failed password for &lt;!channel&gt; &amp; \\x1b[2J &lt;http://evil|click&gt; from 192.0.2.7",`+
		`"fields":[{"title":"Rule","value":"5712 (level 10)","short":true},{"title":"Location","value":"/var/log/auth.log","short":true},`+
		`{"title":"Target","value":"192.0.2.7","short":true},{"title":"By","value":"rule 5712","short":true}],"ts":1795408700}]}`))
	f(Slack, hand, `{"text":"Riposte on web-01","attachments":[{"color":"warning","fallback":"notify by hand","title":"notify by hand",`+
		`"fields":[{"title":"Target","value":"192.0.2.7","short":true},{"title":"By","value":"uid 0 (root)","short":true}]}]}`)
}

// TestAddress: a command's own address wins, and no address ever shows in an
// error.
func TestAddress(t *testing.T) {
	h := &hook{}
	own := &hook{}
	w := newHook(t, Options{URL: h.open(t)})
	e := effect()
	e.Command.ExtraArgs = []string{"--loud", own.open(t) + "/own"}
	if err := post(t, w, e); err != nil || len(h.bodies) != 0 || len(own.paths) != 1 || own.paths[0] != "/services/secret/own" {
		t.Errorf("error %v, posts %d and %q", err, len(h.bodies), own.paths)
	}
	if err := post(t, newHook(t, Options{}), effect()); err == nil || !strings.Contains(err.Error(), "<extra_args>") {
		t.Errorf("without an address: %v", err)
	}
	for _, bad := range []string{"ftp://x/secret", "http://", "secret", "http://x/%zz-secret"} {
		if _, err := New(Options{URL: bad}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	e.Command.ExtraArgs = []string{"http://x/%zz-secret"}
	if err := post(t, w, e); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := post(t, newHook(t, Options{URL: "http://" + l.Addr().String() + "/secret"}), effect()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}

func TestRetry(t *testing.T) {
	f := func(statuses []int, posts int, says string) {
		t.Helper()
		h := &hook{statuses: statuses}
		err := post(t, newHook(t, Options{URL: h.open(t)}), effect())
		if len(h.bodies) != posts {
			t.Errorf("%v: %d posts, expected %d", statuses, len(h.bodies), posts)
		}
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%v: error %v, expected %q", statuses, err, says)
		}
	}
	f([]int{204}, 1, "")
	f([]int{503, 500}, 3, "")
	f([]int{503, 500, 502}, 3, `502 Bad Gateway: no \x1b[31mtoken`)
	f([]int{404}, 1, "404 Not Found")
	f([]int{302}, 1, "302 Found")

	h := &hook{statuses: []int{429}, header: http.Header{"Retry-After": {"1"}}}
	began := time.Now()
	if err := post(t, newHook(t, Options{URL: h.open(t)}), effect()); err != nil || time.Since(began) < time.Second {
		t.Errorf("error %v after %v", err, time.Since(began))
	}
}

func TestSilence(t *testing.T) {
	stop := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer s.Close()
	defer close(stop)
	began := time.Now()
	if err := post(t, newHook(t, Options{URL: s.URL, Limit: 50 * time.Millisecond, Tries: 2}), effect()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := newHook(t, Options{URL: s.URL}).Apply(ctx, []enforce.Effect{effect()})
	if !errors.Is(r[0].Err, context.Canceled) {
		t.Errorf("error %v", r[0].Err)
	}
}

// TestUndo: nothing is posted on undo, where wazuh-slack posts once more.
func TestUndo(t *testing.T) {
	h := &hook{}
	w := newHook(t, Options{Form: Slack, URL: h.open(t)})
	if r := w.Undo(t.Context(), []enforce.Effect{effect()}); r[0].Err != nil || !r[0].NoUndo || len(h.bodies) != 0 {
		t.Errorf("undo: %+v, %d posts", r, len(h.bodies))
	}
	if w.Name() != "slack" || newHook(t, Options{}).Name() != "webhook" || w.Kind() != riposte.None || w.Durable() {
		t.Error("name, kind or durability")
	}
}

// FuzzMessage: whatever is in a log, the post is JSON and holds neither a
// mention nor a control character.
func FuzzMessage(f *testing.F) {
	f.Add("<!channel>", "\x00\u202e")
	f.Fuzz(func(t *testing.T, log, description string) {
		w, err := New(Options{Form: Slack, Host: description})
		if err != nil {
			t.Fatal(err)
		}
		e := effect()
		e.Alert.FullLog, e.Alert.Rule.Description, e.Alert.Location = log, description, log
		b, err := w.body(&e)
		if err != nil {
			t.Fatal(err)
		}
		var m message
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{m.Text, m.Attachments[0].Title, m.Attachments[0].Text, m.Attachments[0].Fields[1].Value} {
			if strings.ContainsAny(s, "<>\x00\x1b\r") {
				t.Errorf("%q", s)
			}
		}
	})
}
