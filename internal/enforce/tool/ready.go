package tool

import "context"

// Ready reports why what is added would not block: see System. Unlike Apply it
// may be called at any time, by any goroutine.
func (m *Mechanism) Ready(ctx context.Context) error {
	if m.sys.Ready == nil {
		return nil
	}
	return m.sys.Ready(ctx, m.run)
}
