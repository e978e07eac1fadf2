package identity

import (
	"strings"
	"testing"

	"riposte/internal/fleet"
)

func FuzzReadKeys(f *testing.F) {
	f.Add("001 web-01 any key\n002 !gone any k\n003 #*#*\n# x\n")
	f.Add("001 web-01 10.0.0.0/8 key\r\n001 #*#*#*")
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := readKeys(strings.NewReader(text))
		if err != nil {
			return
		}
		ids, names := map[string]bool{}, map[string]bool{}
		for _, l := range lines {
			if !fleet.ValidID(l.id) || ids[l.id] || !l.removed && (checkName(l.name) != nil || names[l.name]) || l.line < 1 {
				t.Errorf("%+v", l)
			}
			ids[l.id] = true
			names[l.name] = !l.removed || names[l.name]
		}
	})
}
