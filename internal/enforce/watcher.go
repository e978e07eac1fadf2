package enforce

import "context"

// Watcher is a mechanism that hears of it when somebody else changes what it
// holds.
type Watcher interface {
	Mechanism
	// Watch calls changed when what is in force may no longer be so, until ctx
	// ends, and returns an error when it cannot watch, or no longer. What the
	// mechanism itself does is left out as far as that can be told. It may be
	// called while all other methods are at work; changed must be quick.
	Watch(ctx context.Context, changed func()) error
}
