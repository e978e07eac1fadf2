// Package settings reads riposte.yaml: what riposte needs to know and
// ossec.conf has no word for. The file is optional and every key has a default.
// The comments of the structures below are the reference; docs/configuration.md
// says the same at length.
package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"riposte/internal/ossec"
)

// DefaultPath returns where the file is looked for when no path is given:
// /etc/riposte/riposte.yaml on Linux.
func DefaultPath() string { return filepath.Join(here().config, "riposte.yaml") }

// Settings are the keys of riposte.yaml.
type Settings struct {
	// Whose behaviour is followed where OSSEC and Wazuh differ: wazuh or ossec.
	Dialect ossec.Dialect `yaml:"dialect"`
	// The installation that ossec.conf belongs to: relative paths in it start
	// here.
	Root string `yaml:"root" check:"path"`
	// The configuration; empty: etc/ossec.conf below root (on Windows
	// ossec.conf), or riposte's own when there is none.
	OssecConf string `yaml:"ossec_conf" check:"path?"`
	// Which rules are loaded: auto, those that ossec.conf names if they are
	// there, else the built-in ones; config, those that ossec.conf names;
	// builtin, riposte's own.
	Rules Rules `yaml:"rules"`
	// Directories of decoder and rule files (*.xml) that are loaded after all
	// others; they need not be there.
	OwnDecoders string `yaml:"own_decoders" check:"path"`
	OwnRules    string `yaml:"own_rules" check:"path"`
	// Where responses in force, offenders and positions are kept.
	StateDir string `yaml:"state_dir" check:"path"`
	// Where alerts.json, alerts.log and active-responses.log are written.
	LogDir string `yaml:"log_dir" check:"path"`
	// The control socket.
	Socket string `yaml:"socket" check:"path"`
	// Name of this host in alerts and receipts; empty: the system's.
	Host string `yaml:"host"`
	// enforce carries responses out, observe only says what it would do.
	Mode Mode `yaml:"mode"`
	// What a stop does with responses in force: keep or undo.
	OnStop OnStop `yaml:"on_stop"`
	// How often what is on the host is compared with what should be, and set
	// right; 0: only at a start and by hand.
	RepairEvery time.Duration `yaml:"repair_every"`
	// Threads that decode and match; 0: one for each processor.
	Workers int `yaml:"workers" min:"0" max:"1024"`

	// Which comes first for a command whose executable riposte knows:
	// fallback, a file of that name in active_response_bin, then the built-in
	// mechanism; prefer, the built-in mechanism; never, only files.
	Builtin Builtin `yaml:"builtin"`
	// Where scripts are; empty: active-response/bin below root.
	Bin string `yaml:"active_response_bin" check:"path?"`
	// What blocks addresses: auto, nftables, iptables or none.
	Firewall Firewall `yaml:"firewall"`
	// The file that host-deny writes to.
	HostsDeny string `yaml:"hosts_deny" check:"path"`

	// Addresses, networks and host names that no response may act on, besides
	// those of ossec.conf.
	Allow     []string  `yaml:"allow" check:"host"`
	Guard     Guard     `yaml:"guard"`
	Aggregate Aggregate `yaml:"aggregate"`
	Ladder    Ladder    `yaml:"ladder"`
	Script    Script    `yaml:"script"`
	Mail      Mail      `yaml:"mail"`
	Webhook   Webhook   `yaml:"webhook"`
	Isolate   Isolate   `yaml:"isolate"`
	Fleet     Fleet     `yaml:"fleet"`
	GeoIP     GeoIP     `yaml:"geoip"`
	// Commands that are not carried out: riposte only says what they would do.
	Observe []string `yaml:"observe"`
	// Further sources of events, besides those of ossec.conf.
	Sources Sources `yaml:"sources"`
	Log     Log     `yaml:"log"`
	Audit   Audit   `yaml:"audit"`
}

// Guard says what keeps a host from being locked out. Loopback is always
// protected.
type Guard struct {
	// Protect this host's own addresses.
	Own bool `yaml:"own"`
	// Protect the gateways of its routes.
	Gateway bool `yaml:"gateway"`
	// Protect the name servers it uses.
	Resolvers bool `yaml:"resolvers"`
	// Protect the addresses that administrators are logged in from.
	Sessions bool `yaml:"sessions"`
	// The widest networks that a response may act on, as the length of their
	// prefix.
	WidestIPv4 int `yaml:"widest_ipv4" min:"1" max:"32"`
	WidestIPv6 int `yaml:"widest_ipv6" min:"1" max:"128"`
	// Bounds of each command that limits does not name.
	Limit  Limit            `yaml:"limit"`
	Limits map[string]Limit `yaml:"limits"`
	// Stops all responses when too many targets are acted on at once.
	Breaker Breaker `yaml:"breaker"`
}

// Limit bounds a command.
type Limit struct {
	// New responses in any minute; 0: no bound.
	PerMinute int `yaml:"per_minute" min:"0" max:"1000000"`
	// Responses in force at once; 0: no bound.
	InForce int `yaml:"in_force" min:"0" max:"10000000"`
}

// Breaker is about a rule gone wild, or forged addresses.
type Breaker struct {
	// This many distinct targets open it; 0: it never opens.
	Targets int `yaml:"targets" min:"0" max:"10000000"`
	// Within this time.
	Within time.Duration `yaml:"within" min:"1s" max:"24h"`
	// After this time it closes by itself; 0: only by hand.
	Cooldown time.Duration `yaml:"cooldown"`
}

// Ladder is about repeated offenders.
type Ladder struct {
	// How long after the end of its last response an offender is forgotten; 0:
	// never.
	ForgetAfter time.Duration `yaml:"forget_after"`
}

// Script is about active-response scripts.
type Script struct {
	// After this time a script is killed.
	Timeout time.Duration `yaml:"timeout" min:"1s" max:"24h"`
	// Bytes of a script's output that are kept.
	OutputLimit int `yaml:"output_limit" min:"0" max:"16777216"`
	// The account scripts run as; empty: riposte's own.
	User string `yaml:"user"`
	// By which contract scripts are called: auto, ossec, wazuh3, wazuh4 or
	// wazuh5.
	Generation Generation `yaml:"generation"`
	// Scripts running at once.
	Parallel int `yaml:"parallel" min:"1" max:"1024"`
	// SHA-256 of scripts by file name; a script that differs is not run.
	Pins map[string]string `yaml:"pins" check:"sha256"`
}

// Mail overrides what ossec.conf says about mail.
type Mail struct {
	// Host of the mail server, or the path of a sendmail program; empty: as
	// smtp_server in ossec.conf.
	Host string `yaml:"host"`
	// 0: 587 with tls always, 25 otherwise.
	Port int `yaml:"port" min:"0" max:"65535"`
	// The sender; empty: as email_from in ossec.conf.
	From string `yaml:"from" check:"mail"`
	// The recipients; empty: as email_to in ossec.conf.
	To []string `yaml:"to" check:"mail"`
	// Encryption: opportunistic, always or never.
	TLS TLS `yaml:"tls"`
	// Account at the mail server; empty: none.
	User string `yaml:"user"`
	// A file that holds the account's password.
	PasswordFile string `yaml:"password_file" check:"path?"`
}

// Webhook is about the responses webhook and slack.
type Webhook struct {
	// Where alerts are posted; an URL in extra_args of the command wins.
	URL string `yaml:"url"`
}

// Isolate is about the response isolate-host.
type Isolate struct {
	// Networks that an isolated host still talks to, besides administrators
	// who are logged in: where it is managed from.
	Keep []string `yaml:"keep" check:"host"`
}

// GeoIP is about the places of addresses, which rules ask for by srcgeoip and
// dstgeoip.
type GeoIP struct {
	// A MaxMind database of countries or cities (.mmdb), which is read into
	// memory; empty: no rule about places matches.
	Database string `yaml:"database" check:"path?"`
}

// Sources are inputs that ossec.conf has no word for.
type Sources struct {
	// alerts.json files of other engines whose alerts are answered.
	Alerts   []AlertFile `yaml:"alerts"`
	Journald Journald    `yaml:"journald"`
}

// AlertFile is a file of alerts that another engine writes.
type AlertFile struct {
	Path string `yaml:"path" check:"path" required:"yes"`
	// Who writes it: wazuh or ossec.
	Dialect ossec.Dialect `yaml:"dialect"`
}

// Journald reads the system's journal.
type Journald struct {
	// Read it even if ossec.conf does not ask for it.
	Enabled bool `yaml:"enabled"`
	// Only the records of these units; empty: of all.
	Units []string `yaml:"units"`
}

// Log is about what riposte says of itself.
type Log struct {
	// The least that is said: debug, info, warn or error.
	Level Level `yaml:"level"`
	// text or json.
	Format Format `yaml:"format"`
}

// Default returns what holds on this system when the file is empty.
func Default() *Settings {
	p := here()
	return &Settings{
		Dialect: ossec.Wazuh, Root: p.root, StateDir: p.state, LogDir: p.log,
		Socket: p.socket, HostsDeny: "/etc/hosts.deny", RepairEvery: 30 * time.Second,
		OwnDecoders: filepath.Join(p.config, "decoders"), OwnRules: filepath.Join(p.config, "rules"),
		Guard: Guard{Own: true, Gateway: true, Resolvers: true, Sessions: true, WidestIPv4: 24, WidestIPv6: 48,
			Breaker: Breaker{Targets: 500, Within: 10 * time.Second, Cooldown: time.Minute}},
		Aggregate: Aggregate{IPv6: AggregateIPv6{P64: 4, P56: 16, P48: 64}},
		Ladder:    Ladder{ForgetAfter: 30 * 24 * time.Hour},
		Script:    Script{Timeout: time.Minute, OutputLimit: 64 << 10, Parallel: 8},
		Fleet:     defaultFleet(),
	}
}

// Load reads the file at path. Without a path it reads the file at DefaultPath
// if there is one. The settings are nil when a finding is an error.
func Load(path string) (*Settings, []ossec.Finding) {
	optional := path == ""
	if optional {
		path = DefaultPath()
	}
	src, err := os.ReadFile(path)
	switch {
	case optional && errors.Is(err, fs.ErrNotExist):
		return Default(), nil
	case err != nil:
		return nil, []ossec.Finding{{Severity: ossec.Error, Pos: ossec.Pos{File: path}, Code: "unreadable",
			Message: fmt.Sprintf("the settings cannot be read: %v", err), Hint: "give the path of riposte.yaml with --settings"}}
	}
	return Parse(path, src)
}

// ConfPath returns the path of ossec.conf.
func (s *Settings) ConfPath() string {
	if s.OssecConf != "" {
		return s.OssecConf
	}
	return filepath.Join(s.Root, here().conf)
}

// BinDir returns the directory of active-response scripts.
func (s *Settings) BinDir() string {
	if s.Bin != "" {
		return s.Bin
	}
	return filepath.Join(s.Root, "active-response", "bin")
}

// Threads returns the number of workers.
func (s *Settings) Threads() int {
	if s.Workers > 0 {
		return s.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// HostName returns the name of this host.
func (s *Settings) HostName() string {
	if s.Host != "" {
		return s.Host
	}
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
