package executor

import "context"

// Note puts something that a person did beside orders into the audit chain.
func (x *Executor) Note(ctx context.Context, action, by, text string) error {
	return x.call(ctx, func() { x.note(action, by, text) })
}
