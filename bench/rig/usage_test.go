//go:build linux

package rig

import (
	"os"
	"testing"
	"time"
)

func TestUsageOf(t *testing.T) {
	start := time.Now()
	before, err := UsageOf(os.Getpid())
	if err != nil || before.Resident < 1<<20 {
		t.Fatalf("%+v, %v", before, err)
	}
	for n := 0; ; n++ { // until it has taken processor time
		u, err := UsageOf(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if u.CPU > before.CPU {
			return
		}
		if time.Since(start) > time.Minute {
			t.Fatalf("no processor time after %d looks", n)
		}
	}
}
