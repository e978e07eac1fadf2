// Command windows plays route.exe or netsh.exe, by the name it is called by:
// it writes down how it was called and keeps what it was told, as the real
// ones do. Wine has neither. Routes are kept in a file, firewall rules in the
// registry, where Windows keeps them.
package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/windows/registry"
)

func main() {
	exe, err := os.Executable()
	if err != nil {
		fail(err)
	}
	name := strings.ToLower(filepath.Base(exe))
	temp := filepath.Join(os.Getenv("SystemRoot"), "Temp")
	call := strings.Join(append([]string{name}, os.Args[1:]...), " ")
	calls, err := os.OpenFile(filepath.Join(temp, "calls"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		fail(err)
	}
	if _, err := fmt.Fprintf(calls, "%d %s\n", time.Now().UnixMilli(), call); err != nil {
		fail(err)
	}
	switch name {
	case "route.exe":
		err = route(filepath.Join(temp, "routes"), os.Args[1:])
	case "netsh.exe":
		err = netsh(os.Args[1:])
	default:
		err = errors.New("who am I?")
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Println(err) // where the real ones complain
	os.Exit(1)
}

// route knows ADD, DELETE and PRINT. Its table has a line for each route: what
// stood between the verb and IF.
func route(file string, args []string) error {
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	table := strings.FieldsFunc(string(text), func(c rune) bool { return c == '\n' })
	if args[0] == "PRINT" {
		print(table, args[1] == "-6")
		return nil
	}
	to := strings.Join(args[1:len(args)-2], " ")
	at := slices.Index(table, to)
	switch {
	case args[0] == "ADD" && at < 0:
		table = append(table, to)
	case args[0] == "DELETE" && at >= 0:
		table = slices.Delete(table, at, at+1)
	case args[0] == "ADD":
		return errors.New("The route addition failed: The object already exists.\r\n")
	default:
		return errors.New("The route deletion failed: Element not found.\r\n")
	}
	fmt.Print(" OK!\r\n")
	return os.WriteFile(file, []byte(strings.Join(table, "\n")), 0o600)
}

func print(table []string, six bool) {
	if six {
		fmt.Print("IPv6 Route Table\r\n===\r\nActive Routes:\r\n If Metric Network Destination      Gateway\r\n  1    331 ::1/128                  On-link\r\n")
	} else {
		fmt.Print("IPv4 Route Table\r\n===\r\nActive Routes:\r\nNetwork Destination        Netmask          Gateway       Interface  Metric\r\n" +
			"          0.0.0.0          0.0.0.0       10.0.2.2        10.0.2.15     25\r\n")
	}
	for _, line := range table {
		words := strings.Fields(line)
		if prefix, err := netip.ParsePrefix(words[0]); err == nil && six {
			fmt.Printf("  1    331 %-24s On-link\r\n", prefix)
		} else if err != nil && !six {
			fmt.Printf("%17s %16s         On-link         127.0.0.1    331\r\n", words[0], words[2])
		}
	}
}

const rules = `SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules`

// netsh knows advfirewall firewall add rule and delete rule.
func netsh(args []string) error {
	key, _, err := registry.CreateKey(registry.LOCAL_MACHINE, rules, registry.ALL_ACCESS)
	if err != nil {
		return err
	}
	defer key.Close()
	given := map[string]string{}
	for _, a := range args[4:] {
		k, v, _ := strings.Cut(a, "=")
		given[k] = v
	}
	switch strings.Join(args[:4], " ") {
	case "advfirewall firewall add rule":
		name := fmt.Sprintf("{%d}", time.Now().UnixNano())
		err = key.SetStringValue(name, "v2.31|Action=Block|Active=TRUE|Dir=In|RA4="+given["remoteip"]+"|Name="+given["name"]+"|")
	case "advfirewall firewall delete rule":
		var values []string
		if values, err = key.ReadValueNames(0); err != nil {
			return err
		}
		err = errors.New("No rules match the specified criteria.\r\n")
		for _, v := range values {
			if text, _, e := key.GetStringValue(v); e == nil && strings.Contains(text, "|Name="+given["name"]+"|") {
				err = key.DeleteValue(v)
			}
		}
	default:
		err = errors.New("The following command was not found.\r\n")
	}
	if err == nil {
		fmt.Print("Ok.\r\n")
	}
	return err
}
