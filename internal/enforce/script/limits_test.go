package script

import (
	"slices"
	"strings"
	"testing"
)

// TestLongValuesArriveWhole: what the real systems cut at 1024 bytes, copy
// without an end at 2048 and overrun at 4096 is told and read whole, and
// nothing in it is a command.
func TestLongValuesArriveWhole(t *testing.T) {
	h := newHome(t).write("argv", "#!/bin/sh\nprintf '<%s>' \"$@\" >\"$0.log\"\n").
		write("ask", `#!/bin/sh
read -r line
printf '%s' "$line" >"$0.log"
case $line in *'"command":"delete"'*) exit ;; esac
printf '{"version":1,"origin":{"name":"k","module":"m"},"command":"check_keys","parameters":{"keys":["'
head -c 20000 /dev/zero | tr '\0' k
printf '"]}}\n'
read -r answer
case $answer in *'"command":"continue"'*) ;; *) exit 1 ;; esac
`)
	long := "/var/log/" + strings.Repeat("x y", 2000) + "$(touch pwned)`touch pwned`;touch pwned"
	e := effect(t, "argv", "192.0.2.7")
	e.Alert.Location = long
	e.Command.ExtraArgs = []string{strings.Repeat("a", 5000), "b;touch pwned"}
	must(t, apply(t, h.runner(), e))
	told := h.read("active-response", "bin", "argv.log")
	for _, want := range []string{"<" + long + ">", "<" + e.Command.ExtraArgs[0] + "><b;touch pwned>"} {
		if !strings.Contains(told, want) {
			t.Errorf("%d bytes of arguments lack %.40s…", len(told), want)
		}
	}

	e = effect(t, "ask", "192.0.2.7")
	e.Alert.Location, e.Alert.FullLog = long, long
	e.Command.ExtraArgs = []string{strings.Repeat("a", 5000)}
	res := must(t, apply(t, h.runner(func(o *Options) { o.Generation = Wazuh4 }), e))
	if keys := readState(res.State).Keys; len(keys) != 1 || len(keys[0]) != 20000 {
		t.Errorf("keys of %d bytes", len(strings.Join(keys, "")))
	}
	told = h.read("active-response", "bin", "ask.log")
	for _, want := range []string{`"full_log":"` + long, `"extra_args":["` + e.Command.ExtraArgs[0] + `"]`} {
		if !strings.Contains(told, want) {
			t.Errorf("%d bytes of message lack %.40s…", len(told), want)
		}
	}
	must(t, undo(t, h.runner(func(o *Options) { o.Generation = Wazuh4 }), e, res.State))
	if h.read("active-response", "bin", "pwned")+h.read("pwned") != "" {
		t.Error("a shell ran what the log says")
	}
}

// TestBatchFiles: cmd.exe reads the arguments of a batch file once more.
func TestBatchFiles(t *testing.T) {
	hostile := []string{"add", "-", `C:\x"&calc.exe&"%PATH%!x!|<>^` + "\r\n", "(web 01) 10.0.0.9->/var/log"}
	for _, tt := range []struct {
		system, path string
		want         []string
	}{
		{"linux", "/bin/a.cmd", hostile},
		{"windows", `C:\bin\a.exe`, hostile},
		{"windows", `C:\bin\a.CMD`, []string{"add", "-", `C:\x__calc.exe___PATH__x_______`, "(web 01) 10.0.0.9-_/var/log"}},
		{"windows", `C:\bin\a.bat`, []string{"add", "-", `C:\x__calc.exe___PATH__x_______`, "(web 01) 10.0.0.9-_/var/log"}},
	} {
		if got := arguments(tt.system, tt.path, hostile); !slices.Equal(got, tt.want) {
			t.Errorf("%s on %s: %q, want %q", tt.path, tt.system, got, tt.want)
		}
	}
}
