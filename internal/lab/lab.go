// Package lab is for tests only: machines to attack and to protect, played by
// network namespaces on the real kernel; probes that ask a peer whether it
// still gets through; processes that are killed at a chosen step; log lines as
// the daemons write them.
//
// A package that touches the network or /etc runs all of its tests inside a
// network and mount namespace of its own:
//
//	func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }
//
// The test binary starts itself again in there, so every thread and every
// child is inside and nothing can reach the machine's own firewall, routes or
// mounts. Further machines are made with NewHost and tied to one another with
// Connect. Namespaces have no names: they live as long as the test binary holds
// them, and vanish with it however it dies.
//
// A test that needs root, Linux or a tool begins with Need, which skips it with
// a message that says what is missing.
package lab
