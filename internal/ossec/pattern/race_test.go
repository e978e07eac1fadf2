//go:build race

package pattern

// raced: the race detector empties pools at random, and stops at the pointers of
// transpiled C.
const raced = true
