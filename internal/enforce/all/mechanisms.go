package all

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"riposte/internal/enforce"
	"riposte/internal/enforce/account"
	"riposte/internal/enforce/firewalld"
	"riposte/internal/enforce/hostsdeny"
	"riposte/internal/enforce/ipfw"
	"riposte/internal/enforce/iptables"
	"riposte/internal/enforce/isolate"
	"riposte/internal/enforce/mail"
	"riposte/internal/enforce/netsh"
	"riposte/internal/enforce/nft"
	"riposte/internal/enforce/npf"
	"riposte/internal/enforce/pf"
	"riposte/internal/enforce/quarantine"
	"riposte/internal/enforce/restart"
	"riposte/internal/enforce/route"
	"riposte/internal/enforce/tool"
	"riposte/internal/enforce/webhook"
)

// The names of the mechanisms. Those of OSSEC's and of Wazuh's tables are two:
// a host may have scripts of both.
const (
	accounts = "account"
	restarts = "restart"
	services = "restart service"
	mails    = "mail"
	slack    = "slack"
	hook     = "webhook"
	pfWazuh  = pf.Name + " " + pf.WazuhTable
	npfWazuh = npf.Name + " " + npf.WazuhTable
)

// make opens a mechanism.
func (r *Registry) make(name string) (enforce.Mechanism, error) {
	switch name {
	case nft.Name:
		return opened(nft.New())
	case firewalld.Name:
		return opened(firewalld.New(firewalld.Options{}))
	case iptables.Name:
		return opened(iptables.New(r.o.Run))
	case route.Name:
		return opened(route.New(r.o.Run))
	case hostsdeny.Name:
		path, format := hostsdeny.Default()
		if r.o.HostsDeny != "" && format == hostsdeny.Deny {
			path = r.o.HostsDeny
		}
		return opened(hostsdeny.New(path, format))
	case pf.Name:
		return opened(pf.New(r.o.Run, pf.OSSECTable))
	case pfWazuh:
		m, err := pf.New(r.o.Run, pf.WazuhTable)
		return renamed{m, pfWazuh}, err
	case npf.Name:
		return opened(npf.New(r.o.Run, npf.OSSECTable))
	case npfWazuh:
		m, err := npf.New(r.o.Run, npf.WazuhTable)
		return renamed{m, npfWazuh}, err
	case ipfw.Name:
		return ipfw.New(r.o.Run), nil
	case netsh.Name:
		return netsh.New(r.o.Run), nil
	case accounts:
		return opened(account.New(account.Options{
			Dir: r.state("accounts"), OS: r.o.OS, Run: r.o.Run, AllowSystem: r.o.SystemUsers,
		}))
	case quarantine.Name:
		return opened(quarantine.New(quarantine.Options{Dir: r.state("quarantine")}))
	case isolate.Name:
		return opened(isolate.New(r.o.Isolate))
	case restarts:
		return restart.New(r.restart("restart")), nil
	case services:
		return restart.NewService(r.restart("restart-service")), nil
	case mails:
		return opened(mail.New(r.o.Mail))
	case slack, hook:
		o := r.o.Webhook
		o.Form = map[string]webhook.Form{slack: webhook.Slack, hook: webhook.Plain}[name]
		return opened(webhook.New(o))
	}
	return nil, fmt.Errorf("riposte has no mechanism %q", name)
}

// opened keeps a nil of a mechanism's own type from passing for a mechanism.
func opened[M enforce.Mechanism](m M, err error) (enforce.Mechanism, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

// renamed is a tool's mechanism under another name.
type renamed struct {
	*tool.Mechanism
	name string
}

func (m renamed) Name() string { return m.name }

func (r *Registry) state(name string) string {
	if r.o.StateDir == "" {
		return ""
	}
	return filepath.Join(r.o.StateDir, name)
}

func (r *Registry) restart(stamp string) restart.Options {
	return restart.Options{OS: r.o.OS, Roots: r.o.Roots, Reexec: r.o.Reexec, Run: r.o.Run, Stamp: r.state(stamp)}
}

// candidates returns the mechanisms that can do what a stock program does, the
// best first, and none when the program's kind is not of this system.
func (r *Registry) candidates(d duty, executable string) ([]string, error) {
	wazuh := !strings.HasSuffix(strings.ToLower(executable), ".sh") // whose table: OSSEC's programs are shell scripts
	own := func(ossec, wazuhs string) string {
		if wazuh {
			return wazuhs
		}
		return ossec
	}
	on := func(systems string, name string) ([]string, error) {
		if !slices.Contains(strings.Fields(systems), r.o.OS) {
			return nil, fmt.Errorf("%s is not of this system (%s)", name, r.o.OS)
		}
		return []string{name}, nil
	}
	switch d {
	case firewall:
		return r.firewalls(own(pf.Name, pfWazuh), own(npf.Name, npfWazuh))
	case zoneFirewall:
		names, err := r.firewalls(own(pf.Name, pfWazuh), own(npf.Name, npfWazuh))
		if err == nil && r.o.OS == "linux" && r.o.Firewall == Auto {
			names = append([]string{firewalld.Name}, names...)
		}
		return names, err
	case hostDeny:
		return []string{hostsdeny.Name}, nil
	case nullRoute:
		return []string{route.Name}, nil
	case packetFilter:
		return on("openbsd freebsd darwin dragonfly netbsd", own(pf.Name, pfWazuh))
	case npfTable:
		return on("netbsd", own(npf.Name, npfWazuh))
	case ipfwTable:
		return on("freebsd dragonfly", ipfw.Name)
	case windowsFirewall:
		return on("windows", netsh.Name)
	case lockAccount:
		return []string{accounts}, nil
	case removeFile:
		return on("linux", quarantine.Name)
	case isolateHost:
		return on("linux", isolate.Name)
	case restartSelf:
		return []string{restarts}, nil
	case restartService:
		return []string{services}, nil
	case sendMail:
		return []string{mails}, nil
	case postSlack:
		return []string{slack}, nil
	case postWebhook:
		return []string{hook}, nil
	}
	return nil, fmt.Errorf("nothing does what %s does", executable)
}

// firewalls returns what may stand in for firewall-drop.
func (r *Registry) firewalls(pfName, npfName string) ([]string, error) {
	switch {
	case r.o.Firewall == None:
		return nil, errors.New("no address is blocked here: the setting firewall is none")
	case r.o.Firewall == Nftables:
		return []string{nft.Name}, nil
	case r.o.Firewall == Iptables:
		return []string{iptables.Name}, nil
	}
	switch r.o.OS {
	case "linux":
		return []string{nft.Name, iptables.Name, route.Name, hostsdeny.Name}, nil
	case "windows":
		return []string{netsh.Name, route.Name}, nil
	case "netbsd":
		return []string{npfName, pfName, route.Name, hostsdeny.Name}, nil
	case "freebsd", "dragonfly":
		return []string{pfName, ipfw.Name, route.Name, hostsdeny.Name}, nil
	}
	return []string{pfName, route.Name, hostsdeny.Name}, nil // openbsd, darwin
}

// lasting are the mechanisms whose effects outlive riposte, by system: what an
// earlier run may have left in force.
func (r *Registry) lasting() []string {
	names := []string{route.Name, hostsdeny.Name, accounts}
	switch r.o.OS {
	case "linux":
		return append(names, nft.Name, iptables.Name, firewalld.Name, quarantine.Name)
	case "windows":
		return []string{route.Name, netsh.Name, accounts}
	case "netbsd":
		return append(names, npf.Name, npfWazuh, pf.Name, pfWazuh)
	case "freebsd", "dragonfly":
		return append(names, pf.Name, pfWazuh, ipfw.Name)
	}
	return append(names, pf.Name, pfWazuh)
}
