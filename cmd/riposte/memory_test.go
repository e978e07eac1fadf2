//go:build linux

package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"riposte/internal/lab"
)

// TestMemoryOutlivesAKill: what a rule has seen for the first time is not new
// after a kill -9, and what a record was last is still compared with.
func TestMemoryOutlivesAKill(t *testing.T) {
	host := lab.NewHost(t, "server")
	r := install(t, host, "", "")
	r.write("riposte.yaml", r.read("riposte.yaml")+"rules: builtin\nmode: observe\nown_decoders: "+r.path("decoders")+"\nown_rules: "+r.path("rules")+"\n")
	r.write("decoders/d.xml", `<decoder name="visits"><program_name>^visits$</program_name></decoder>
<decoder name="visit"><parent>visits</parent><prematch>^visitor </prematch><regex>^visitor (\S+)</regex><order>user</order><fts>name,user</fts></decoder>`)
	r.write("rules/r.xml", `<group name="visits,"><rule id="100900" level="5"><decoded_as>visits</decoded_as><match>visitor</match><if_fts /><description>new visitor</description></rule>
<rule id="100901" level="5"><decoded_as>visits</decoded_as><match>price</match><check_diff /><description>new price</description></rule></group>`)
	r.write("ossec.conf", "<ossec_config><localfile><log_format>syslog</log_format><location>"+r.path("visits.log")+"</location></localfile></ossec_config>")
	r.write("visits.log", "")
	line := func(text string) {
		appendTo(t, r.path("visits.log"), time.Now().Format(time.Stamp)+" web1 visits: "+text+"\n")
	}
	alerted := func(text string) int { return strings.Count(r.read("log/alerts.json"), text+`","predecoder"`) }

	r.start()
	line("visitor bob")
	line("price 1")
	eventually(t, 10*time.Second, "the first visit is an alert", func() bool { return alerted("visitor bob") == 1 })
	eventually(t, 10*time.Second, "what was learned is stored", func() bool {
		stored := r.read("state/facts")
		return strings.Contains(stored, "bob") && strings.Contains(stored, "price 1")
	})
	r.stop(syscall.SIGKILL)

	r.start()
	line("visitor bob")
	line("price 2")
	line("visitor eve")
	eventually(t, 10*time.Second, "another visit is an alert", func() bool { return alerted("visitor eve") == 1 })
	if n := alerted("visitor bob"); n != 1 {
		t.Errorf("%d alerts for the first visit of one visitor", n)
	}
	if n := alerted("price 2"); n != 1 {
		t.Errorf("%d alerts for a price that is another than before the restart", n)
	}
	r.stop(syscall.SIGTERM)
}
