package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"riposte/internal/api"
	"riposte/internal/daemon"
	"riposte/internal/fleet"
	"riposte/internal/fleet/broker"
	"riposte/internal/fleet/identity"
	"riposte/internal/fleet/link"
)

func newServerCommand(e *env) *cobra.Command {
	cmd := newRoleCommand(e, daemon.Server)
	cmd.Use = "server"
	cmd.Short = "Guard this host and a fleet of agents until stopped"
	cmd.Long = "Does what riposte run does, and judges the events of its agents and sends them orders. Its keys\n" +
		"are made once, by riposte server init. Agents connect to fleet.listen (port 4222)."
	cmd.AddCommand(newServerInitCommand(e), newServerNodeCommand(e))
	return cmd
}

func newServerInitCommand(e *env) *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the keys of a fleet: once, on its first server",
		Long: "Makes the keys of a fleet below the state directory (fleet/): operator, accounts, the key that\n" +
			"orders are signed with, and the authority for TLS. Whoever has them has the fleet: keep a copy\n" +
			"in a safe place. A second server gets a copy of the same folder.",
		Args: args(none),
		RunE: func(*cobra.Command, []string) error {
			s, err := e.loadSettings()
			if err != nil {
				return err
			}
			if len(names) > 0 {
				s.Fleet.Names = names
			}
			dir := daemon.FleetDir(s)
			a, err := identity.Init(dir, identity.InitOptions{Names: daemon.PublicNames(s)})
			if err != nil {
				return err
			}
			return e.print(map[string]any{"dir": dir, "names": a.Names(), "order_key": a.OrderKey()}, func(w io.Writer) {
				fmt.Fprintf(w, "made the keys of a fleet in %s\n", dir)
				fmt.Fprintf(w, "agents reach this server as %s\n", strings.Join(a.Names(), ", "))
				fmt.Fprintln(w, "next: riposte server; then riposte enroll-token --name NAME for each agent")
			})
		},
	}
	cmd.Flags().StringSliceVar(&names, "name", nil, "name or address by which agents reach this server (default: fleet.names, or the host's)")
	return cmd
}

func newServerNodeCommand(e *env) *cobra.Command {
	var o broker.ExternalOptions
	var names []string
	cmd := &cobra.Command{
		Use:   "node DIR",
		Short: "Write into DIR what a node of an external NATS cluster needs to serve this fleet",
		Long: "Writes nats.conf, a certificate with its key, and the authority's certificate, to be carried to\n" +
			"a machine that runs nats-server. Nothing in them lets anybody into the fleet.",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, a []string) error {
			s, err := e.loadSettings()
			if err != nil {
				return err
			}
			authority, err := identity.Open(daemon.FleetDir(s))
			if err != nil {
				return err
			}
			dir, err := filepath.Abs(a[0])
			if err != nil {
				return err
			}
			if o.Dir == "" {
				o.Dir = dir
			}
			path, err := broker.WriteNode(authority, dir, names, o)
			if err != nil {
				return err
			}
			return e.print(map[string]string{"config": path}, func(w io.Writer) { fmt.Fprintf(w, "wrote %s; start it with nats-server -c\n", path) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Name, "name", "", "name of the node, unique in the cluster")
	f.StringSliceVar(&names, "address", nil, "names and addresses by which servers and agents reach the node")
	f.StringVar(&o.Listen, "listen", "0.0.0.0:4222", "address and port for servers and agents")
	f.StringVar(&o.StoreDir, "store", "/var/lib/nats", "folder for its data")
	f.StringVar(&o.Dir, "dir", "", "where DIR will lie on that machine (default: the same path)")
	f.StringVar(&o.Cluster, "cluster", "", "name of the cluster; empty: a single node")
	f.StringVar(&o.ClusterListen, "cluster-listen", "", "address and port for the other nodes")
	f.StringSliceVar(&o.Routes, "route", nil, "address and port of another node")
	_ = cmd.MarkFlagRequired("name") // the flags are there
	_ = cmd.MarkFlagRequired("address")
	return cmd
}

func newAgentCommand(e *env) *cobra.Command {
	cmd := newRoleCommand(e, daemon.Agent)
	cmd.Use = "agent"
	cmd.Short = "Guard this host for a server until stopped"
	cmd.Long = "Follows the logs that the configuration names, sends their lines to the server and carries out\n" +
		"its orders. While the server is away lines wait on this disk, and what is in force ends on time.\n" +
		"A host becomes an agent once, with riposte agent join."
	cmd.AddCommand(newJoinCommand(e))
	return cmd
}

func newJoinCommand(e *env) *cobra.Command {
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "join TOKEN",
		Short: "Make this host an agent, with a token from riposte enroll-token",
		Long: "Makes a key that never leaves this host, and has the server enrol it. TOKEN may be - to read it\n" +
			"from standard input, which keeps it out of the list of processes.",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			s, err := e.loadSettings()
			if err != nil {
				return err
			}
			text := a[0]
			if text == "-" {
				b, err := io.ReadAll(io.LimitReader(e.in, 1<<16))
				if err != nil {
					return fmt.Errorf("read the token: %w", err)
				}
				text = string(b)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), patience)
			defer cancel()
			c, err := link.Join(ctx, strings.TrimSpace(text), daemon.FleetDir(s), s.HostName(), version, logger(e, s))
			if err != nil {
				return err
			}
			return e.print(map[string]any{"id": c.ID, "name": c.Name, "groups": c.Groups, "servers": c.URLs}, func(w io.Writer) {
				fmt.Fprintf(w, "this host is agent %s (%s) of %s\nnext: riposte agent\n", c.ID, c.Name, strings.Join(c.URLs, ", "))
			})
		},
	}
	cmd.Flags().DurationVar(&patience, "wait", 30*time.Second, "how long to try")
	return cmd
}

func newEnrollTokenCommand(e *env) *cobra.Command {
	var r api.EnrolRequest
	cmd := &cobra.Command{
		Use:   "enroll-token --name NAME",
		Short: "Print a token with which one host becomes an agent, once",
		Args:  args(none),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, _ []string) error {
			t, err := c.Enrol(cmd.Context(), r)
			if err != nil {
				return err
			}
			return e.print(t, func(w io.Writer) {
				fmt.Fprintln(w, t.Token)
				fmt.Fprintf(e.err, "good once, until %s; on the agent: riposte agent join TOKEN; to take it back: riposte agents withdraw %s\n", when(t.Expires), t.ID)
			})
		}),
	}
	cmd.Flags().StringVar(&r.Name, "name", "", "name of the agent")
	cmd.Flags().StringSliceVar(&r.Groups, "group", nil, "groups it belongs to")
	cmd.Flags().DurationVar(&r.For, "for", time.Hour, "how long the token is good")
	_ = cmd.MarkFlagRequired("name") // the flag is there
	return cmd
}

func newAgentsTokensCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "tokens",
		Short: "The enrolment tokens of the last months, and what became of each",
		Args:  args(none),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, _ []string) error {
			list, err := c.Tokens(cmd.Context())
			if err != nil {
				return err
			}
			return e.print(list, func(w io.Writer) {
				rows := [][]string{{"TOKEN", "AGENT", "STATE", "GOOD UNTIL", "BY", "PROBLEM"}}
				for _, t := range list {
					rows = append(rows, []string{t.ID, t.Name, t.State, when(t.Expires), t.By, t.Problem})
				}
				table(w, rows)
			})
		}),
	}
}

func newAgentsWithdrawCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "withdraw TOKEN",
		Short: "Make a token worthless that no host has used yet",
		Args:  args(cobra.ExactArgs(1)),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, a []string) error {
			t, err := c.Withdraw(cmd.Context(), api.TokenRequest{Token: a[0]})
			if err != nil {
				return err
			}
			return e.print(t, func(w io.Writer) { fmt.Fprintf(w, "token %s for %s: %s\n", t.ID, t.Name, t.State) })
		}),
	}
}

func newAgentsCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agents",
		Short: "The agents of this server: list, show, remove, rotate, set, import, tokens, withdraw",
		Args:  verbs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAgentsListCommand(e), newAgentsShowCommand(e), newAgentsSetCommand(e), newAgentsImportCommand(e), newAgentsTokensCommand(e), newAgentsWithdrawCommand(e),
		agentVerb(e, "remove", "Take an agent out of the fleet: its connection is cut, its key is worth nothing", (*api.Client).Remove),
		agentVerb(e, "rotate", "Have an agent change its key", (*api.Client).Rotate))
	return cmd
}

func newAgentsListCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "All agents, and how they are",
		Args:  args(none),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, _ []string) error {
			list, err := c.Agents(cmd.Context())
			if err != nil {
				return err
			}
			return e.print(list, func(w io.Writer) { printAgents(w, list, time.Now()) })
		}),
	}
}

func printAgents(w io.Writer, list []api.Agent, now time.Time) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no agents are enrolled; riposte enroll-token --name NAME makes a token for one")
		return
	}
	rows := [][]string{{"ID", "NAME", "STATE", "LAST SEEN", "ADDRESS", "VERSION", "SYSTEM", "WAITING", "IN FORCE", "CONFIG", "GROUPS"}}
	for _, a := range list {
		seen := ""
		if !a.Seen.IsZero() {
			seen = now.Sub(a.Seen).Round(time.Second).String() + " ago"
		}
		bundle := fmt.Sprint(a.Bundle)
		if a.Bundle != a.Current {
			bundle += fmt.Sprintf(" of %d", a.Current)
		}
		state := a.State
		if a.Problem != "" {
			state += " (!)"
		}
		rows = append(rows, []string{a.ID, a.Name, state, seen, a.Address, a.Version, a.OS, fmt.Sprint(a.Lag), fmt.Sprint(a.InForce), bundle,
			strings.Join(a.Groups, ",")})
	}
	table(w, rows)
}

// findAgent asks for one agent.
func findAgent(ctx context.Context, c *api.Client, name string) (api.Agent, error) {
	list, err := c.Agents(ctx)
	if err != nil {
		return api.Agent{}, err
	}
	i := slices.IndexFunc(list, func(a api.Agent) bool { return a.ID == name || a.Name == name })
	if i < 0 {
		return api.Agent{}, &api.Error{Message: fmt.Sprintf("there is no agent %q", name), Hint: "see riposte agents list"}
	}
	return list[i], nil
}

func newAgentsShowCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "show AGENT",
		Short: "Everything known of one agent",
		Args:  args(cobra.ExactArgs(1)),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, a []string) error {
			x, err := findAgent(cmd.Context(), c, a[0])
			if err != nil {
				return err
			}
			return e.print(x, func(w io.Writer) { printAgent(w, &x) })
		}),
	}
}

func printAgent(w io.Writer, a *api.Agent) {
	rows := [][]string{
		{"id", a.ID}, {"name", a.Name}, {"groups", strings.Join(a.Groups, ", ")}, {"labels", labelText(a.Labels)},
		{"enrolled", when(a.Created)}, {"state", a.State},
	}
	if a.Analyses {
		rows = append(rows, []string{"judges", "what it reads, for itself, too"})
	}
	if !a.Seen.IsZero() {
		rows = append(rows, [][]string{
			{"last seen", when(a.Seen)}, {"address", a.Address}, {"host", a.Host}, {"version", a.Version}, {"system", a.OS}, {"since", when(a.Since)},
			{"clock", fmt.Sprintf("%v off", a.Skew)}, {"in force", fmt.Sprint(a.InForce)},
			{"waiting", fmt.Sprintf("%d records of events, %d bytes", a.Lag, a.LagBytes)}, {"lost", fmt.Sprintf("%d records of events", a.Dropped)},
			{"orders", fmt.Sprintf("%d behind", a.Behind)}, {"config", fmt.Sprintf("version %d of %d", a.Bundle, a.Current)}, {"problem", a.Problem},
		}...)
	}
	table(w, slices.DeleteFunc(rows, func(r []string) bool { return r[1] == "" }))
}

func labelText(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return strings.Join(out, ", ")
}

func agentVerb(e *env, verb, short string, do func(*api.Client, context.Context, api.AgentRequest) (api.Agent, error)) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " AGENT",
		Short: short,
		Args:  args(cobra.ExactArgs(1)),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, a []string) error {
			x, err := do(c, cmd.Context(), api.AgentRequest{Agent: a[0]})
			if err != nil {
				return err
			}
			return e.print(x, func(w io.Writer) { fmt.Fprintf(w, "agent %s (%s): %s\n", x.ID, x.Name, x.State) })
		}),
	}
}

func newAgentsSetCommand(e *env) *cobra.Command {
	r := api.DescribeRequest{}
	var labels []string
	cmd := &cobra.Command{
		Use:   "set AGENT",
		Short: "Set an agent's groups and labels",
		Args:  args(cobra.ExactArgs(1)),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, a []string) error {
			x, err := findAgent(cmd.Context(), c, a[0])
			if err != nil {
				return err
			}
			r.Agent = x.ID
			if !cmd.Flags().Changed("group") {
				r.Groups = x.Groups
			}
			if r.Labels = x.Labels; cmd.Flags().Changed("label") {
				r.Labels = map[string]string{}
			}
			for _, l := range labels {
				k, v, ok := strings.Cut(l, "=")
				if !ok || k == "" {
					return &exitError{exitUsage, fmt.Errorf("label %q: write KEY=VALUE", l)}
				}
				r.Labels[k] = v
			}
			if x, err = c.Describe(cmd.Context(), r); err != nil {
				return err
			}
			return e.print(x, func(w io.Writer) {
				fmt.Fprintf(w, "agent %s (%s): groups %s; labels %s\n", x.ID, x.Name,
					cmp.Or(strings.Join(x.Groups, ", "), "none"), cmp.Or(labelText(x.Labels), "none"))
			})
		}),
	}
	cmd.Flags().StringSliceVar(&r.Groups, "group", nil, "its groups, instead of those it has")
	cmd.Flags().StringSliceVar(&labels, "label", nil, "its labels, KEY=VALUE, instead of those it has")
	return cmd
}

func newAgentsImportCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "import CLIENT.KEYS",
		Short: "Take over ids and names from OSSEC's or Wazuh's client.keys",
		Long: "Takes over the ids and names of a client.keys. The keys in it are not used: each agent joins\n" +
			"with a token for its name (riposte enroll-token --name NAME) and keeps its id.",
		Args: args(cobra.ExactArgs(1)),
		RunE: e.asking(func(cmd *cobra.Command, c *api.Client, a []string) error {
			path, err := filepath.Abs(a[0])
			if err != nil {
				return err
			}
			out, err := c.Import(cmd.Context(), api.ImportRequest{Path: path})
			if err != nil {
				return err
			}
			return e.print(out, func(w io.Writer) {
				for _, x := range out.Agents {
					fmt.Fprintf(w, "%s  %s\n", x.ID, x.Name)
				}
				fmt.Fprintf(w, "%d agents taken over\n", len(out.Agents))
			})
		}),
	}
}

// placeFlags are for verbs that act on other hosts, too.
func placeFlags(cmd *cobra.Command, where *string) {
	cmd.Flags().StringVar(where, "on", "", "on a server: an agent's id or name, group:NAME, label:KEY=VALUE, or all")
	cmd.Flags().BoolFunc("everywhere", "on all agents and here, as --on all", func(string) error {
		*where = "all"
		return nil
	})
}

// follow shows how far an order to many hosts has come, until all have answered
// or ctx ends.
func follow(ctx context.Context, e *env, c *api.Client, order string) error {
	for {
		p, err := c.Progress(ctx, api.ProgressRequest{Order: order})
		if err != nil {
			return err
		}
		var parts []string
		for o, n := range p.Outcomes {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
		slices.Sort(parts)
		fmt.Fprintf(e.err, "\r%d of %d hosts have answered: %s ", p.Answered, p.Hosts, strings.Join(parts, ", "))
		if p.Answered >= p.Hosts {
			fmt.Fprintln(e.err)
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			fmt.Fprintln(e.err)
			return errors.New("not all hosts have answered yet; those that are away answer when they return")
		}
	}
}

// hostName is how a list names a host.
func hostName(id string) string {
	if id == fleet.Server {
		return "server"
	}
	return id
}
