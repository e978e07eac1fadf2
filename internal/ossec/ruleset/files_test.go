package ruleset

import (
	"os"
	"path/filepath"
	"testing"

	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
)

// A directory for one's own rules that is not there is a warning, and the rest
// is loaded.
func TestMissingDirectory(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "rules"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "rules", "a.xml"), []byte("<group name=\"a,\"></group>"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, found := conf.Parse("ossec.conf", []byte(`<ossec_config><ruleset><rule_dir>rules</rule_dir><rule_dir>etc/rules</rule_dir></ruleset></ossec_config>`), ossec.Wazuh)
	if cfg == nil {
		t.Fatal(found)
	}
	opts, found := ReadFiles(root, ossec.Wazuh, cfg.Rules)
	if len(opts.Rules) != 1 {
		t.Errorf("read %d rule files, want 1", len(opts.Rules))
	}
	if len(found) != 1 || found[0].Severity != ossec.Warning || found[0].Code != "missing-directory" || found[0].Pos.Line == 0 {
		t.Errorf("found %v", found)
	}
}
