package ruleset_test

import (
	"testing"

	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
	"riposte/ruleset"
)

// The built-in configuration is read without a remark, in both dialects.
func TestConfig(t *testing.T) {
	for _, d := range dialects {
		for _, f := range []ruleset.File{ruleset.Config(), ruleset.ConfigJournal(), ruleset.ConfigSyslog()} {
			cfg, findings := conf.Parse(f.Name, f.Data, d)
			for _, x := range findings {
				if x.Severity > ossec.Note {
					t.Errorf("%s: %s", d, x)
				}
			}
			if cfg == nil {
				t.Fatalf("%s: no configuration", d)
			}
			if len(cfg.Responses) != 2 || len(cfg.LocalFiles) < 5 {
				t.Errorf("%s: %d responses, %d logs", d, len(cfg.Responses), len(cfg.LocalFiles))
			}
		}
	}
}
