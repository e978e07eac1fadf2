package settings

import "time"

// Fleet is about servers (riposte server) and agents (riposte agent).
type Fleet struct {
	// Address and port that a server's own broker listens on.
	Listen string `yaml:"listen" check:"listen"`
	// Names and addresses by which agents reach this server; empty: the host's
	// name and its addresses. They are in its certificate and in the tokens.
	Names []string `yaml:"names" check:"host"`
	// Brokers of a cluster that is run beside riposte, host:port each; empty: the
	// server's own broker.
	Brokers []string `yaml:"brokers" check:"listen"`
	// On how many nodes of such a cluster everything is stored.
	Replicas int `yaml:"replicas" min:"1" max:"5"`
	// Megabytes of events that a server stores until they are judged; agents keep
	// what is beyond.
	Store int `yaml:"store_mb" min:"16" max:"100000000"`
	// Megabytes of events that an agent stores until its server has them. When
	// they are used up it reads no further.
	Spool int `yaml:"spool_mb" min:"1" max:"100000000"`
	// Whether an agent judges what it reads by rules of its own, too, and answers
	// what is for it alone (location local), whether its server is there or not.
	Analyse bool `yaml:"analyse"`
	// How often an agent gives a sign of life.
	Beat time.Duration `yaml:"beat" min:"1s" max:"10m"`
	// An agent without a sign of life for so long is silent, if it gives one more
	// often than that at all.
	Silent time.Duration `yaml:"silent" min:"15s" max:"24h"`
	// What a number in <agent_id> stands for, where it is not an agent's own:
	// "name:web-01", "group:web" or "label:site=berlin".
	Agents map[string]string `yaml:"agents" check:"agents"`
	// Of each hundred agents, how many carry a command out; the others only say
	// what they would do. Commands that are not named are carried out by all.
	Canary map[string]int `yaml:"canary" min:"0" max:"100"`
}

func defaultFleet() Fleet {
	return Fleet{Listen: "0.0.0.0:4222", Replicas: 1, Store: 4096, Spool: 256, Beat: 10 * time.Second, Silent: 35 * time.Second}
}
