package analysis

import (
	"fmt"

	"github.com/oschwald/maxminddb-golang/v2"

	"riposte/internal/ossec/ruleset"
)

// OpenGeo makes the Geo option of a MaxMind database (GeoLite2 City or
// Country): the place of an address as Wazuh writes it, "US / California", or
// the country's code alone. "" stands for an address that is not in it.
func OpenGeo(data []byte) (func(address string) string, error) {
	db, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, fmt.Errorf("open the database of places: %w", err)
	}
	type names struct {
		Country struct {
			ISO string `maxminddb:"iso_code"`
		} `maxminddb:"country"`
		Regions []struct {
			Names struct {
				English string `maxminddb:"en"`
			} `maxminddb:"names"`
		} `maxminddb:"subdivisions"`
	}
	return func(address string) string {
		ip, ok := ruleset.ParseAddress(address)
		if !ok {
			return ""
		}
		var n names
		if err := db.Lookup(ip).Decode(&n); err != nil || n.Country.ISO == "" {
			return ""
		}
		if len(n.Regions) > 0 && n.Regions[0].Names.English != "" {
			return n.Country.ISO + " / " + n.Regions[0].Names.English
		}
		return n.Country.ISO
	}, nil
}
