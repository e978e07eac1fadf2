package fleet

import (
	"errors"
	"testing"
)

// A receipt without an outcome would be stored, and then no list that has it
// could be read: an outcome of no name is none.
func TestAReceiptHasAnOutcome(t *testing.T) {
	c := NewCodec()
	in := content(c, formatReceipts, []byte(`{"order":"o1","outcome":"undone"}`+"\n"+`{"order":"o2"}`+"\n"))
	if r, err := c.DecodeReceipts(in); !errors.Is(err, ErrMalformed) {
		t.Errorf("%+v, %v", r, err)
	}
}
