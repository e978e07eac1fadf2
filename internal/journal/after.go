package journal

import (
	"context"

	"riposte"
)

// ReceiptsAfter returns receipts in the order in which they were written, those
// after the record of the given number, and the number of the last record that
// was looked at: what to ask for next. At most limit receipts are returned.
func (j *Journal) ReceiptsAfter(ctx context.Context, after int64, limit int) (rs []riposte.Receipt, last int64, err error) {
	last = after
	err = j.records(ctx, " WHERE seq > ? ORDER BY seq LIMIT ?", []any{after, limit}, func(r *Record) {
		last = r.Seq
		if r.Receipt != nil {
			rs = append(rs, *r.Receipt)
		}
	})
	return rs, last, err
}
