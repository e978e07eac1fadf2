//go:build unix

// Command analysis measures the analysis engine: how many events a second a
// ruleset judges on this machine, what CPU time and memory that takes, and how
// long the ruleset takes to load. Alerts are written to disk as the daemon
// writes them.
//
//	go run ./bench/analysis --config OSSEC.CONF --root DIR --dialect D --workers N --input FILE
//	go run ./bench/analysis --stock CONFORMANCE --dialect D --workers N --input FILE
//	go run ./bench/analysis --stock CONFORMANCE --make mixed --events N --output FILE
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"riposte"
	"riposte/internal/alertlog"
	"riposte/internal/analysis"
	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
	"riposte/internal/ossec/ruleset"
	"riposte/internal/ossec/suite"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "analysis:", err)
		os.Exit(1)
	}
}

type options struct {
	config, root, stock, dialect string
	workers                      int
	input                        string
	events                       int
	logs                         string
	logtest                      bool
	make, output                 string
	seed                         uint64
	at                           string
	cpuProfile, memProfile       string
}

// Report is what a run prints.
type Report struct {
	Dialect    string  `json:"dialect"`
	Workers    int     `json:"workers"`
	CPUs       int     `json:"cpus"`
	Input      string  `json:"input"`
	Rules      int     `json:"rules"`
	Decoders   int     `json:"decoders"`
	LoadMS     float64 `json:"load_ms"`
	Events     int     `json:"events"`
	Bytes      int64   `json:"bytes"`
	Seconds    float64 `json:"seconds"`
	PerSecond  float64 `json:"events_per_second"`
	UserCPU    float64 `json:"user_cpu_s_per_million"`
	SystemCPU  float64 `json:"system_cpu_s_per_million"`
	Alerts     int     `json:"alerts_written"`
	AlertBytes int64   `json:"alert_bytes"`
	Allocs     float64 `json:"allocations_per_event"`
	PeakRSS    int64   `json:"peak_resident_kb"`
}

func run() error {
	var o options
	flag.StringVar(&o.config, "config", "", "ossec.conf whose rules are loaded")
	flag.StringVar(&o.root, "root", ".", "directory that relative paths of the configuration start from")
	flag.StringVar(&o.stock, "stock", "", "conformance data: load its stock ruleset instead of a configuration")
	flag.StringVar(&o.dialect, "dialect", "wazuh", "wazuh or ossec")
	flag.IntVar(&o.workers, "workers", 1, "goroutines that decode and match")
	flag.StringVar(&o.input, "input", "", "file of log lines")
	flag.IntVar(&o.events, "events", 0, "events to judge, reading the input again and again (0: the input once); lines to make with --make")
	flag.StringVar(&o.logs, "logs", "", "directory for the alert logs (default: a temporary one)")
	flag.BoolVar(&o.logtest, "logtest", false, "judge as the log test does, not as a daemon")
	flag.StringVar(&o.make, "make", "", "make a corpus instead: mixed or sshd")
	flag.StringVar(&o.output, "output", "", "file that --make writes")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of --make")
	flag.StringVar(&o.at, "at", "", "reception time of all events, RFC 3339 (default: now), so that two runs write the same")
	flag.StringVar(&o.cpuProfile, "cpuprofile", "", "write a CPU profile")
	flag.StringVar(&o.memProfile, "memprofile", "", "write a heap profile")
	flag.Parse()
	if o.make != "" {
		return makeCorpus(&o)
	}
	if o.input == "" {
		return fmt.Errorf("no --input given")
	}
	return measure(&o)
}

// load reads the ruleset and prepares an engine.
func load(o *options) (*analysis.Engine, error) {
	d, err := ossec.ParseDialect(o.dialect)
	if err != nil {
		return nil, err
	}
	var opt ruleset.Options
	if o.stock != "" {
		if opt, err = suite.Stock(o.stock, d, false); err != nil {
			return nil, err
		}
	} else {
		cfg, findings := conf.Load(o.config, d)
		if cfg == nil {
			return nil, firstError(findings)
		}
		opt, findings = ruleset.FromConfig(o.root, cfg)
		if ossec.Failed(findings) {
			return nil, firstError(findings)
		}
	}
	set, findings := ruleset.Load(opt)
	if set == nil {
		return nil, firstError(findings)
	}
	host, _ := os.Hostname()
	return analysis.New(set, analysis.Options{Host: host, Live: !o.logtest}), nil
}

func firstError(findings []ossec.Finding) error {
	for _, f := range findings {
		if f.Severity == ossec.Error {
			return f
		}
	}
	return fmt.Errorf("not loaded")
}

func measure(o *options) error {
	start := time.Now()
	engine, err := load(o)
	if err != nil {
		return err
	}
	r := Report{
		Dialect: o.dialect, Workers: o.workers, CPUs: runtime.GOMAXPROCS(0), Input: o.input,
		LoadMS: time.Since(start).Seconds() * 1e3, Rules: len(engine.Set().Rules), Decoders: len(engine.Set().Decoders),
	}
	dir := o.logs
	if dir == "" {
		if dir, err = os.MkdirTemp("", "riposte-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	log, err := alertlog.Open(dir, engine.Set().Dialect)
	if err != nil {
		return err
	}
	defer log.Close()
	log.Parallel(o.workers)
	if o.cpuProfile != "" {
		f, err := os.Create(o.cpuProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if err := judge(o, engine, log, &r); err != nil {
		return err
	}
	if o.memProfile != "" {
		f, err := os.Create(o.memProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.WriteHeapProfile(f); err != nil {
			return err
		}
	}
	r.AlertBytes = sizeOf(dir)
	r.PeakRSS = peakRSS()
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// judge feeds the input through a pipeline.
func judge(o *options, engine *analysis.Engine, log *alertlog.Writer, r *Report) error {
	clock := time.Now
	if o.at != "" {
		at, err := time.Parse(time.RFC3339, o.at)
		if err != nil {
			return fmt.Errorf("--at: %w", err)
		}
		clock = func() time.Time { return at }
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	user, system := cpuTimes()
	start := time.Now()
	in := make(chan riposte.Batch, 4)
	failed := make(chan error, 1)
	go func() {
		defer close(in)
		n, bytes, err := feed(o.input, o.events, clock, in)
		r.Events, r.Bytes = n, bytes
		failed <- err
	}()
	p := analysis.NewPipeline(engine, o.workers, func(alerts []*riposte.Alert, _ *riposte.Batch) error {
		for _, a := range alerts {
			if a.Log {
				r.Alerts++
			}
		}
		return log.WriteAlerts(alerts)
	})
	if err := p.Run(context.Background(), in); err != nil {
		return err
	}
	if err := <-failed; err != nil {
		return err
	}
	r.Seconds = time.Since(start).Seconds()
	u, s := cpuTimes()
	runtime.ReadMemStats(&after)
	million := float64(r.Events) / 1e6
	r.PerSecond = float64(r.Events) / r.Seconds
	r.UserCPU, r.SystemCPU = (u-user).Seconds()/million, (s-system).Seconds()/million
	r.Allocs = float64(after.Mallocs-before.Mallocs) / float64(r.Events)
	return nil
}
