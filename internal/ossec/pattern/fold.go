package pattern

// lower maps A-Z to a-z and every other byte to itself, which is all the case
// folding that OS_Match and OS_Regex know.
var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = lower[c]
	}
	return string(b)
}

func hasHighByte(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return true
		}
	}
	return false
}

// equalFold reports whether s, ignoring ASCII case, is the lower-case text lit
// of the same length.
func equalFold(s, lit string) bool {
	for i := range len(lit) {
		if lower[s[i]] != lit[i] {
			return false
		}
	}
	return true
}
