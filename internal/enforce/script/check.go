package script

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

// CheckOptions say how a script is tried out. Every zero value has a default.
type CheckOptions struct {
	Expect      []riposte.Kind // what its command expects; default an address
	ExtraArgs   []string       // of its command
	Limit       time.Duration  // for one call; default ten seconds
	EncodeAlert func(*riposte.Alert) []byte
}

// Report is what came of trying out a script.
type Report struct {
	Script  string       `json:"script"`
	Sandbox string       `json:"sandbox"` // what the script was kept from, in words
	Speaks  []Generation `json:"speaks"`  // the contracts it keeps
	Runs    Generation   `json:"runs"`    // how riposte would call it
	Calls   []Trial      `json:"calls"`
	Remarks []Remark     `json:"remarks"`
}

// Trial is one call of the script.
type Trial struct {
	Generation Generation    `json:"generation"`
	Call       string        `json:"call"`            // "add", "add, then abort", "delete"
	Failure    string        `json:"failure"`         // "" for a good end
	Took       time.Duration `json:"took"`            //
	Read       bool          `json:"read"`            // it read its input
	Asked      bool          `json:"asked"`           // it asked check_keys
	Keys       []string      `json:"keys,omitempty"`  // with these
	Left       int           `json:"left,omitempty"`  // processes it left running
	Trace      []string      `json:"trace,omitempty"` // where its target was found afterwards
	Output     string        `json:"output,omitempty"`

	flaw    error
	limit   bool
	starved bool
}

// Remark is one thing worth saying about a script. A problem is one that keeps
// it from doing its work.
type Remark struct {
	Problem bool   `json:"problem"`
	Text    string `json:"text"`
}

// Problems reports whether any remark is a problem.
func (r *Report) Problems() bool {
	return slices.ContainsFunc(r.Remarks, func(m Remark) bool { return m.Problem })
}

// What a script under test is asked to act on: an address that documentation
// alone uses (RFC 5737), and names that nobody has.
const (
	testAddress = "192.0.2.1"
	testUser    = "riposte-test"
	testFile    = "/nonexistent/riposte-test"
)

// Check calls the script at path by every contract, with a harmless target and
// as far as the system allows out of reach of the host, and says what is wrong
// with it. An error means that it could not be tried at all.
func Check(ctx context.Context, path string, o CheckOptions) (*Report, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if o.Limit <= 0 {
		o.Limit = 10 * time.Second
	}
	if len(o.Expect) == 0 {
		o.Expect = []riposte.Kind{riposte.Address}
	}
	r, err := New(Options{Dir: filepath.Dir(path), Host: "riposte", Limit: o.Limit, Grace: min(o.Limit/2, 2*time.Second), EncodeAlert: o.EncodeAlert})
	if err != nil {
		return nil, err
	}
	rep := &Report{Script: path, Runs: detect(path)}
	if _, err := r.Find(filepath.Base(path)); errors.Is(err, ErrNoScript) {
		return nil, err
	} else if err != nil {
		rep.problem("riposte would not run it: %v", err)
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || !executable(info) {
		return rep, err
	}
	for _, g := range []Generation{Auto, OSSEC, Wazuh3, Wazuh4, Wazuh5} {
		if err := rep.try(ctx, r, g, path, o); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	rep.judge(o.Expect[0])
	return rep, nil
}

// try makes the calls of one generation in a sandbox of their own.
func (rep *Report) try(ctx context.Context, r *Runner, g Generation, path string, o CheckOptions) error {
	if g == Wazuh3 && len(o.ExtraArgs) == 0 {
		return nil // nothing that OSSEC's call does not show
	}
	box, err := newSandbox(path)
	if err != nil {
		return fmt.Errorf("sandbox for a script: %w", err)
	}
	defer box.close()
	rep.Sandbox = box.kept
	e := testEffect(filepath.Base(path), o)
	st, err := r.compose(&e, g)
	if err != nil {
		return err
	}
	run := func(call string, act riposte.Action, change func(*call)) {
		c := r.call(box.path, st, act)
		c.dir = workDir(filepath.Dir(box.path))
		c.start = box.start
		c.env = append(c.env, box.mark())
		if change != nil {
			change(c)
		}
		end := c.run(ctx)
		left := box.sweep()
		t := Trial{
			Generation: g, Call: call, Took: end.took, Read: end.read, Asked: end.asked, Keys: end.keys,
			Left: left, Trace: box.trace(e.Target.Value), Output: end.output,
			flaw: end.flaw, limit: end.limit > 0, starved: end.starved,
		}
		if err := end.failure(filepath.Base(path)); err != nil {
			t.Failure = err.Error()
		}
		rep.Calls = append(rep.Calls, t)
	}
	if g == Wazuh4 {
		run("add, then abort", riposte.Add, func(c *call) { c.reply = st.line("abort") })
	}
	run("add", riposte.Add, nil)
	run("delete", riposte.Delete, nil)
	return nil
}

func testEffect(name string, o CheckOptions) enforce.Effect {
	target := riposte.Target{Kind: o.Expect[0]}
	switch target.Kind {
	case riposte.Address:
		target.Value = testAddress
	case riposte.User:
		target.Value = testUser
	case riposte.File:
		target.Value = testFile
	}
	now := time.Now()
	return enforce.Effect{
		Command: riposte.Command{Name: "script-test", Executable: name, Expect: o.Expect, ExtraArgs: o.ExtraArgs},
		Target:  target,
		Until:   now.Add(10 * time.Minute),
		Alert: &riposte.Alert{
			ID: fmt.Sprintf("%d.1", now.Unix()), Time: now, Manager: "riposte",
			Rule:     riposte.Rule{ID: 5712, Level: 10, Description: "riposte script test", Groups: "syslog,sshd,authentication_failures,"},
			Location: "(riposte test) " + testAddress + "->/var/log/auth.log",
			FullLog:  "sshd[1]: Failed password for " + testUser + " from " + testAddress + " port 1 ssh2",
			Decoder:  riposte.Decoder{Name: "sshd"},
			Fields: []riposte.Field{
				{Name: "srcip", Value: testAddress}, {Name: "dstuser", Value: testUser}, {Name: "filename", Value: testFile},
			},
		},
	}
}

func (rep *Report) problem(format string, a ...any) {
	rep.Remarks = append(rep.Remarks, Remark{Problem: true, Text: fmt.Sprintf(format, a...)})
}

func (rep *Report) note(format string, a ...any) {
	rep.Remarks = append(rep.Remarks, Remark{Text: fmt.Sprintf(format, a...)})
}

func (rep *Report) find(g Generation, call string) *Trial {
	for i := range rep.Calls {
		if t := &rep.Calls[i]; t.Generation == g && t.Call == call {
			return t
		}
	}
	return nil
}

// judge makes remarks of what the calls showed.
func (rep *Report) judge(kind riposte.Kind) {
	name := filepath.Base(rep.Script)
	traced := slices.ContainsFunc(rep.Calls, func(t Trial) bool { return len(t.Trace) > 0 })
	for _, g := range []Generation{OSSEC, Wazuh3, Wazuh4, Wazuh5} {
		add, del := rep.find(g, "add"), rep.find(g, "delete")
		if add == nil || add.Failure != "" || del.Failure != "" || traced && len(add.Trace) == 0 {
			continue
		}
		if g.arguments() || add.Asked || traced {
			rep.Speaks = append(rep.Speaks, g)
		}
	}
	run := rep.Runs
	add, del := rep.find(run, "add"), rep.find(run, "delete")
	switch {
	case add.limit:
		rep.problem("add hangs: %s", add.Failure)
	case add.Failure != "" && len(rep.Speaks) > 0 && !slices.Contains(rep.Speaks, run):
		rep.problem("add fails as riposte calls it (%s), but not as %s does: set its generation", add.Failure, rep.Speaks[0])
	case add.Failure != "":
		rep.problem("add fails: %s", add.Failure)
	}
	switch {
	case quirks[name].once:
		rep.note("%s is known to be one-time: riposte never calls it with delete", name)
	case del.limit:
		rep.problem("delete hangs: %s", del.Failure)
	case del.Failure != "":
		rep.problem("no undo: delete fails: %s", del.Failure)
	case len(del.Trace) > 0:
		rep.problem("no undo: after delete the target is still in %s", strings.Join(del.Trace, ", "))
	}
	rep.judgeHandshake(kind)
	rep.judgeHabits(add, traced)
	if len(rep.Speaks) == 0 && !rep.Problems() {
		rep.problem("it keeps no contract that is known")
	}
}

// judgeHandshake looks at how the script spoke in Wazuh's way.
func (rep *Report) judgeHandshake(kind riposte.Kind) {
	for i := range rep.Calls {
		t := &rep.Calls[i]
		if t.Call != "add" || !t.Generation.message() || t.Generation == Wazuh5 && rep.Runs != Wazuh5 {
			continue
		}
		if t.flaw != nil {
			rep.problem("wrong check_keys: %v", t.flaw)
			break
		}
		if value := map[riposte.Kind]string{riposte.Address: testAddress, riposte.User: testUser}[kind]; t.Asked && value != "" && !slices.Contains(t.Keys, value) {
			rep.problem("wrong check_keys: the keys %q do not hold the target %s, so that Wazuh takes different targets for one", t.Keys, value)
			break
		}
	}
	if abort := rep.find(Wazuh4, "add, then abort"); abort.Asked && len(abort.Trace) > 0 {
		rep.problem("it acts though it was told abort: the target is in %s", strings.Join(abort.Trace, ", "))
	}
	add := rep.find(Wazuh4, "add")
	switch {
	case add.starved && add.Failure == "":
		rep.note("it reads its input to the end: riposte ends the input %s after a script has read its line; Wazuh's own executor would wait for ever", usualGrace)
	case add.starved && slices.Contains(rep.Speaks, Wazuh4):
		rep.problem("it waits for an answer to a question it has not asked: %s", add.Failure)
	case !add.Read && slices.Contains(rep.Speaks, OSSEC):
		rep.note("it never reads its input: it is an argument script, which Wazuh 4 and later cannot run")
	case !add.Asked && add.Read && slices.Contains(rep.Speaks, Wazuh4) && rep.Runs != Wazuh5:
		rep.note("it asks no check_keys: Wazuh 4 would never undo it; riposte does, unless its generation is set to wazuh4")
	}
}

// judgeHabits looks at what else the script did as riposte calls it.
func (rep *Report) judgeHabits(add *Trial, traced bool) {
	if add.Left > 0 {
		rep.note("it leaves %d process(es) running after its end; what they print is lost", add.Left)
	}
	if add.Output == "" && !traced && add.Failure == "" {
		rep.note("it prints nothing and leaves no trace that could be seen: nobody can tell what it did")
	}
	if quirks[filepath.Base(rep.Script)].status {
		rep.note("the exit status of %s is not looked at: the stock script of that name always ends with 1", filepath.Base(rep.Script))
	}
}
