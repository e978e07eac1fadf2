package analysis

import (
	"bytes"
	"net"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"riposte/internal/ossec"
)

// places is a database of a few networks.
func places(t testing.TB) []byte {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-City", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	put := func(network string, place mmdbtype.Map) {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(n, place); err != nil {
			t.Fatal(err)
		}
	}
	country := func(code string) mmdbtype.Map { return mmdbtype.Map{"iso_code": mmdbtype.String(code)} }
	region := func(name string) mmdbtype.DataType {
		return mmdbtype.Map{"iso_code": mmdbtype.String("XX"), "names": mmdbtype.Map{"de": mmdbtype.String("anders"), "en": mmdbtype.String(name)}}
	}
	put("192.0.2.0/25", mmdbtype.Map{"country": country("US"), "subdivisions": mmdbtype.Slice{region("California"), region("Other")}})
	put("192.0.2.128/25", mmdbtype.Map{"country": country("DE")})
	put("198.51.100.0/24", mmdbtype.Map{"registered_country": country("FR")})
	put("2001:db8::/32", mmdbtype.Map{"country": country("NL"), "subdivisions": mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String("NH")}}})
	put("203.0.113.0/24", mmdbtype.Map{"country": mmdbtype.String("not a map")})
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestOpenGeo(t *testing.T) {
	geo, err := OpenGeo(places(t))
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"192.0.2.1": "US / California", "192.0.2.129": "DE", "2001:db8::1": "NL", "198.51.100.1": "", "203.0.113.1": "",
		"10.0.0.1": "", "": "", "no address": "", "192.0.2.0/24": "",
	} {
		if got := geo(address); got != want {
			t.Errorf("%q is in %q, want %q", address, got, want)
		}
	}
	for _, data := range [][]byte{nil, []byte("no database"), places(t)[:100]} {
		if _, err := OpenGeo(data); err == nil {
			t.Errorf("%d bytes are taken for a database", len(data))
		}
	}
}

// TestGeoRules: rules ask for places, and alerts show them.
func TestGeoRules(t *testing.T) {
	geo, err := OpenGeo(places(t))
	if err != nil {
		t.Fatal(err)
	}
	dec := `<decoder name="z"><prematch>^from</prematch><regex>^from (\S+) to (\S+)</regex><order>srcip,dstip</order></decoder>`
	rules := `<group name="x,"><rule id="10" level="5"><decoded_as>z</decoded_as><srcgeoip>^US</srcgeoip><description>d</description></rule>
<rule id="11" level="5"><decoded_as>z</decoded_as><dstgeoip>DE</dstgeoip><description>d</description></rule></group>`
	lines := []string{"from 192.0.2.1 to 10.0.0.1", "from 192.0.2.200 to 10.0.0.1", "from 10.0.0.1 to 192.0.2.200", "from 10.0.0.1 to 10.0.0.2"}
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		e := New(testSet(t, d, dec, rules), Options{Host: "h", Geo: geo})
		if got := run(e, lines...); got != "10 - 11 -" {
			t.Errorf("%s: %s", d, got)
		}
		if got := run(New(testSet(t, d, dec, rules), Options{Host: "h"}), lines...); got != "- - - -" {
			t.Errorf("%s without a database: %s", d, got)
		}
		a := e.Analyse(event(lines[0]))
		if place, _ := a.Field("srcgeoip"); place != "US / California" {
			t.Errorf("%s: the alert says %q", d, place)
		}
	}
}

func FuzzOpenGeo(f *testing.F) {
	f.Add(places(f), "192.0.2.1")
	f.Add([]byte("\xab\xcd\xefMaxMind.com"), "192.0.2.1")
	f.Fuzz(func(t *testing.T, data []byte, address string) {
		if geo, err := OpenGeo(data); err == nil {
			geo(address)
		}
	})
}
