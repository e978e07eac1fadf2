//go:build !race

package pattern

const raced = false
