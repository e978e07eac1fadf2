package conf

import (
	"fmt"
	"strings"
	"testing"

	"riposte/internal/ossec"
)

// The real executor has room for 65 lines of ar.conf and writes on behind it.
func TestAnyNumberOfResponses(t *testing.T) {
	const n = 2000
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "<command><name>c%d</name><executable>c%d.sh</executable><expect>srcip</expect><timeout_allowed>yes</timeout_allowed></command>\n", i, i)
		b.WriteString(ar(fmt.Sprintf("command c%d", i), "location local", "level 7", fmt.Sprintf("timeout %d", i+1)))
	}
	cfg, findings := Parse("f", []byte(conf(b.String())), ossec.OSSEC)
	if cfg == nil || len(findings) > 0 || len(cfg.Responses) != n {
		t.Fatalf("%d findings: %v", len(findings), findings)
	}
	if last := cfg.Responses[n-1]; last.Command.Name != "c1999" || last.Command.Executable != "c1999.sh" || last.Timeout.Seconds() != n {
		t.Errorf("the last response is %+v", last)
	}
}

// A Wazuh 4 agent reads the element and does nothing with it.
func TestClientSwitchesResponsesOff(t *testing.T) {
	for text, want := range map[string]bool{"yes": true, " yes ": true, "no": false, "": false} {
		cfg, findings := Parse("f", []byte(conf("<client><server><address>10.0.0.1</address></server><disable-active-response>"+text+"</disable-active-response></client>")), ossec.Wazuh)
		if cfg == nil || cfg.Off != want || want != (len(findings) == 1) {
			t.Errorf("%q: %+v, %v", text, cfg, findings)
		}
	}
}
