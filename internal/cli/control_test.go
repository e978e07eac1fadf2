package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"riposte"
	"riposte/internal/api"
)

// What another host says of itself and of what it did, of which a taken-over one
// may say anything, neither drives the operator's terminal nor looks like lines
// of riposte's.
func TestForeignWordsAreNotObeyed(t *testing.T) {
	const evil = "x\x1b[2J\r\n002\tall well\u202e\xff"
	receipt := riposte.Receipt{
		Order: evil, Host: "001", Outcome: riposte.Applied, Command: evil, Target: riposte.Target{Kind: riposte.File, Value: evil},
		Mechanism: evil, Reason: evil, By: evil,
	}
	for name, c := range map[string]struct {
		lines int
		print func(*bytes.Buffer)
	}{
		"receipts": {2, func(b *bytes.Buffer) { printReceipts(b, []riposte.Receipt{receipt}) }},
		"in force": {2, func(b *bytes.Buffer) {
			printBlocks(b, []api.Block{{Host: "001", Command: evil, Target: receipt.Target, Mechanism: evil, State: evil, By: evil}}, true, time.Now())
		}},
		"why": {3, func(b *bytes.Buffer) {
			printWhy(b, api.Why{Orders: []api.WhyOrder{{
				Order:    riposte.Order{ID: evil, Command: riposte.Command{Name: evil}, Target: receipt.Target, By: evil},
				Receipts: []riposte.Receipt{receipt},
			}}})
		}},
		"agents": {2, func(b *bytes.Buffer) {
			printAgents(b, []api.Agent{{ID: "001", Address: evil, Version: evil, OS: evil, Problem: evil}}, time.Now())
		}},
		"agent": {14, func(b *bytes.Buffer) {
			printAgent(b, &api.Agent{ID: "001", Seen: time.Now(), Host: evil, Version: evil, OS: evil, Problem: evil})
		}},
	} {
		var out bytes.Buffer
		c.print(&out)
		if got := strings.Count(out.String(), "\n"); strings.ContainsAny(out.String(), "\x1b\r\t\u202e") || !utf8.Valid(out.Bytes()) || got != c.lines {
			t.Errorf("%s: %d lines: %q", name, got, out.String())
		}
	}
}

func TestListsNameTheHost(t *testing.T) {
	var out bytes.Buffer
	printReceipts(&out, []riposte.Receipt{{Host: "001", Outcome: riposte.Undone, Command: "drop"}, {Host: "000", Outcome: riposte.Undone, Command: "drop"}})
	printBlocks(&out, []api.Block{{Host: "002", Command: "drop"}}, true, time.Now())
	for _, want := range []string{"HOST    TIME", "\n001     ", "\nserver  ", "HOST  TARGET", "\n002   "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}
