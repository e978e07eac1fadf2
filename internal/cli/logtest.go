package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"riposte"
	"riposte/internal/alertlog"
	"riposte/internal/analysis"
	"riposte/internal/daemon"
	"riposte/internal/response"
)

func newLogtestCommand(e *env) *cobra.Command {
	var t logtest
	cmd := &cobra.Command{
		Use:   "logtest [FILE…]",
		Short: "What log lines would cause: decoder, rule and responses, touching nothing",
		Long: "Reads log lines from the files or from standard input and prints for each what the\n" +
			"pre-decoder, the decoders and the rules make of it, and which responses would run, where and\n" +
			"for how long. Lines of one call are one session: frequency rules count them.",
		RunE: func(_ *cobra.Command, files []string) error {
			w, err := t.rules.world(e, false)
			if err != nil {
				return err
			}
			t.world, t.engine = w, w.Engine(false, nil)
			if !e.json {
				fmt.Fprintf(e.err, "dialect %s; %s; configuration %s\n", w.Settings.Dialect, w.RulesName, w.ConfigName)
			}
			return t.run(e, files)
		},
	}
	f := cmd.Flags()
	t.rules.add(cmd)
	f.StringVar(&t.location, "location", "stdin", "location of the events")
	f.BoolVarP(&t.verbose, "verbose", "v", false, "show the path through the rules and why each failed")
	f.BoolVarP(&t.alerts, "alerts", "a", false, "print only alerts, as in alerts.log")
	return cmd
}

// logtest judges lines without touching anything.
type logtest struct {
	rules           rulesFlags
	location        string
	verbose, alerts bool

	world  *daemon.World
	engine *analysis.Engine
}

// maxLine bounds a line of logtest's input.
const maxLine = 16 << 20

func (t *logtest) run(e *env, files []string) error {
	if len(files) == 0 {
		return t.read(e, "standard input", e.in)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("read log lines: %w", err)
		}
		err = t.read(e, name, f)
		_ = f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *logtest) read(e *env, name string, in io.Reader) error {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, maxLine)
	for sc.Scan() {
		line := strings.TrimSuffix(sc.Text(), "\r")
		if line == "" {
			continue
		}
		ev := riposte.Event{Time: time.Now(), Location: t.location, Text: line}
		if err := t.line(e, &ev); err != nil {
			return err
		}
	}
	if err := sc.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("%s: a line is longer than %d bytes", name, maxLine)
	} else if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func (t *logtest) line(e *env, ev *riposte.Event) error {
	v := t.engine.Test(ev, t.verbose)
	var orders []riposte.Order
	var skipped []response.Skipped
	if v.Rule != nil && v.Record.Rule.Level > 0 && !v.Ignored {
		orders, skipped = t.world.Planner.Plan(v.Record)
	}
	switch {
	case t.alerts:
		if v.Alert {
			_, err := e.out.Write(alertlog.AppendText(nil, v.Record, t.world.Settings.Dialect))
			return err
		}
		return nil
	case e.json:
		return t.printJSON(e.out, &v, orders, skipped)
	}
	t.printPhases(e.out, ev, &v)
	printResponses(e.out, orders, skipped)
	fmt.Fprintln(e.out)
	return nil
}

// printPhases prints what users of wazuh-logtest expect to read.
func (t *logtest) printPhases(w io.Writer, ev *riposte.Event, v *analysis.Verdict) {
	a := v.Record
	fmt.Fprintf(w, "\n**Phase 1: Completed pre-decoding.\n")
	row(w, "full event", ev.Text)
	for _, f := range [][2]string{{"timestamp", a.Stamp}, {"hostname", a.Hostname}, {"program_name", a.Program}} {
		if f[1] != "" {
			row(w, f[0], f[1])
		}
	}
	fmt.Fprintf(w, "\n**Phase 2: Completed decoding.\n")
	if a.Decoder.Name == "" {
		fmt.Fprintf(w, "\tNo decoder matched.\n")
	} else {
		row(w, "name", a.Decoder.Name)
		if a.Decoder.Parent != "" {
			row(w, "parent", a.Decoder.Parent)
		}
		fields := append([]riposte.Field(nil), a.Fields...)
		sort.SliceStable(fields, func(i, j int) bool { return fields[i].Name < fields[j].Name })
		for _, f := range fields {
			row(w, f.Name, f.Value)
		}
	}
	if len(v.Trace) > 0 {
		fmt.Fprintf(w, "\n**Path through the rules.\n")
		for _, s := range v.Trace {
			verdict := "matched"
			if !s.Matched {
				verdict = "no: " + visible(s.Reason)
			}
			fmt.Fprintf(w, "\t%s%d (level %d): %s\n", strings.Repeat("  ", s.Depth), s.Rule.ID, s.Rule.Level, verdict)
		}
	}
	if v.Rule == nil {
		return
	}
	r := a.Rule
	fmt.Fprintf(w, "\n**Phase 3: Completed filtering (rules).\n")
	row(w, "id", fmt.Sprint(r.ID))
	row(w, "level", fmt.Sprint(r.Level))
	row(w, "description", r.Description)
	row(w, "groups", pythonList(r.GroupList()))
	row(w, "firedtimes", fmt.Sprint(v.Fired))
	for _, i := range r.Info {
		row(w, "info."+i.Kind, i.Text)
	}
	row(w, "mail", map[bool]string{true: "True", false: "False"}[r.Mail])
	if len(r.MITRE) > 0 {
		var ids []string
		for _, m := range r.MITRE {
			ids = append(ids, m.ID)
		}
		row(w, "mitre.id", pythonList(ids))
	}
	if v.Ignored {
		fmt.Fprintf(w, "**Rule is ignoring: no alert.\n")
	}
	if v.Alert {
		fmt.Fprintf(w, "**Alert to be generated.\n")
	}
}

func row(w io.Writer, key, value string) { fmt.Fprintf(w, "\t%s: '%s'\n", key, visible(value)) }

// pythonList writes a list as wazuh-logtest prints it.
func pythonList(s []string) string {
	return "['" + strings.Join(s, "', '") + "']"
}

func printResponses(w io.Writer, orders []riposte.Order, skipped []response.Skipped) {
	if len(orders)+len(skipped) == 0 {
		return
	}
	fmt.Fprintf(w, "\n**Responses that would run.\n")
	for i := range orders {
		o := &orders[i]
		fmt.Fprintf(w, "\t%s on %s, %s, %s\n", o.Command.Name, visible(o.Target.String()), place(o.Place), howLong(o))
	}
	for _, s := range skipped {
		fmt.Fprintf(w, "\t%s: not, %s\n", s.Command, visible(s.Reason))
	}
}

func place(p riposte.Place) string {
	switch {
	case p.All:
		return "on every host"
	case p.Server && p.Local:
		return "on the host of the alert and the server"
	case p.Server:
		return "on the server"
	case p.Defined != "" && p.Local:
		return "on the host of the alert and agent " + p.Defined
	case p.Defined != "":
		return "on agent " + p.Defined
	}
	return "on the host of the alert"
}

func howLong(o *riposte.Order) string {
	if !o.Stateful() {
		return "without end"
	}
	s := fmt.Sprintf("for %s", o.Timeout)
	if len(o.Ladder) > 0 {
		var steps []string
		for _, d := range o.Ladder {
			steps = append(steps, d.String())
		}
		s += fmt.Sprintf(" (offending again: %s)", strings.Join(steps, ", "))
	}
	return s
}

// logtestLine is one line of logtest --json.
type logtestLine struct {
	Decoder   string             `json:"decoder"`
	Rule      int                `json:"rule,omitempty"`
	Level     int                `json:"level"`
	Alert     bool               `json:"alert"`
	Ignored   bool               `json:"ignored,omitempty"`
	Output    json.RawMessage    `json:"output"` // the alert as in alerts.json
	Responses []riposte.Order    `json:"responses"`
	Skipped   []response.Skipped `json:"skipped,omitempty"`
	Path      []pathStep         `json:"path,omitempty"`
}

type pathStep struct {
	Depth   int    `json:"depth"`
	Rule    int    `json:"rule"`
	Matched bool   `json:"matched"`
	Reason  string `json:"reason,omitempty"`
}

func (t *logtest) printJSON(w io.Writer, v *analysis.Verdict, orders []riposte.Order, skipped []response.Skipped) error {
	l := logtestLine{
		Decoder: v.Record.Decoder.Name, Alert: v.Alert, Ignored: v.Ignored, Responses: orders, Skipped: skipped,
		Output: json.RawMessage(strings.TrimSuffix(string(alertlog.AppendJSON(nil, v.Record, t.world.Settings.Dialect)), "\n")),
	}
	if v.Rule != nil {
		l.Rule, l.Level = v.Rule.ID, v.Rule.Level
	}
	for i := range l.Responses {
		l.Responses[i].Alert = nil // it is the output
	}
	for _, s := range v.Trace {
		l.Path = append(l.Path, pathStep{s.Depth, s.Rule.ID, s.Matched, s.Reason})
	}
	return json.NewEncoder(w).Encode(l)
}
