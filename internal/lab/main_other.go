//go:build !linux

package lab

import "testing"

// Main runs a package's tests as they are: only Linux has namespaces.
func Main(m *testing.M) int { return m.Run() }

// Need skips the test.
func Need(t testing.TB, _ ...string) {
	t.Helper()
	t.Skip("needs Linux namespaces")
}
