package host

import "testing"

func TestBoot(t *testing.T) {
	if a, b := Boot(), Boot(); a == "" || a != b {
		t.Errorf("Boot gives %q, then %q", a, b)
	}
	clock := SinceBoot()
	if clock == nil {
		t.Fatal("no clock")
	}
	if a, b := clock(), clock(); a <= 0 || b < a {
		t.Errorf("the clock says %v, then %v", a, b)
	}
}
