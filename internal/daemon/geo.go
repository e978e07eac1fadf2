package daemon

import (
	"fmt"
	"os"

	"riposte/internal/analysis"
	"riposte/internal/ossec"
)

// openGeo reads a database of places. Without a path there is none. It is read
// whole, not mapped: whoever copies a new one over it would take the pages away
// from under a process that has mapped them.
func openGeo(path string) (func(address string) string, []ossec.Finding) {
	if path == "" {
		return nil, nil
	}
	bad := func(format string, args ...any) []ossec.Finding {
		return []ossec.Finding{{Severity: ossec.Error, Pos: ossec.Pos{File: path}, Code: "geoip", Message: fmt.Sprintf(format, args...),
			Hint: "give geoip.database in riposte.yaml the path of a MaxMind database (.mmdb) of countries or cities, or leave the key out"}}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, bad("the database of places cannot be read: %v", err)
	}
	geo, err := analysis.OpenGeo(data)
	if err != nil {
		return nil, bad("%v", err)
	}
	return geo, nil
}
