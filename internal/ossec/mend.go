package ossec

import (
	"cmp"
	"slices"
)

// Mend applies the fixes of the findings on file to its text. Where two fixes
// touch the same bytes the one of the earlier finding is applied. A fix in two
// parts is applied whole or not at all. n is the number of findings mended.
func Mend(file string, src []byte, findings []Finding) (mended []byte, n int) {
	var edits []Edit
	for _, f := range findings {
		if f.Pos.File != file || f.Fix == nil {
			continue
		}
		parts := []Edit{*f.Fix}
		if f.Also != nil {
			parts = append(parts, *f.Also)
		}
		fits := func(e Edit) bool {
			return e.Offset >= 0 && e.Len >= 0 && e.Offset+e.Len <= len(src) && !slices.ContainsFunc(edits, e.overlaps)
		}
		if slices.Contains(edits, *f.Fix) && len(parts) == 1 { // the same insertion for two reasons
			n++
			continue
		}
		if slices.IndexFunc(parts, func(e Edit) bool { return !fits(e) }) < 0 {
			edits = append(edits, parts...)
			n++
		}
	}
	// What is inserted before a piece comes before what replaces that piece.
	slices.SortStableFunc(edits, func(a, b Edit) int { return cmp.Or(a.Offset-b.Offset, a.Len-b.Len) })
	at := 0
	for _, e := range edits {
		mended = append(mended, src[at:e.Offset]...)
		mended = append(mended, e.Text...)
		at = e.Offset + e.Len
	}
	return append(mended, src[at:]...), n
}

// overlaps reports whether two edits touch the same bytes or insert at the
// same place.
func (e Edit) overlaps(f Edit) bool {
	if e.Len == 0 && f.Len == 0 {
		return e.Offset == f.Offset
	}
	return e.Offset < f.Offset+f.Len && f.Offset < e.Offset+e.Len
}
