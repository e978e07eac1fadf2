package settings

// Aggregate says when a prefix is blocked in place of the many addresses of it
// that are.
type Aggregate struct {
	IPv4 AggregateIPv4 `yaml:"ipv4"`
	IPv6 AggregateIPv6 `yaml:"ipv6"`
}

// AggregateIPv4 is off by default: neighbours in an IPv4 network have nothing to
// do with each other.
type AggregateIPv4 struct {
	// This many addresses of a /24 make it one block; 0: never.
	P24 int `yaml:"24" min:"0" max:"256"`
}

// AggregateIPv6 is on by default: one offender has a /64 at least for himself.
type AggregateIPv6 struct {
	// This many addresses of a /64 make it one block; 0: never.
	P64 int `yaml:"64" min:"0" max:"1000000"`
	// This many /64 with offenders make a /56 one block; 0: never.
	P56 int `yaml:"56" min:"0" max:"256"`
	// This many /64 with offenders make a /48 one block; 0: never.
	P48 int `yaml:"48" min:"0" max:"65536"`
}

// Audit is about the record of everything done.
type Audit struct {
	// Where each record is also sent as a syslog message (RFC 5424):
	// udp://host:port, tcp://host:port or unix:///path; empty: nowhere.
	Syslog string `yaml:"syslog" check:"syslog?"`
}
