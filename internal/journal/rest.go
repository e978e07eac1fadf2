package journal

import (
	"context"
	"database/sql"
	"fmt"
)

// Rest gives the memory back that a burst has filled: the writer's page cache,
// and idle connections with theirs. What is asked for next is read anew.
func (j *Journal) Rest() error {
	for _, db := range []*sql.DB{j.db, j.read} {
		db.SetMaxIdleConns(0)
		db.SetMaxIdleConns(maxIdle)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.conn.ExecContext(context.Background(), "PRAGMA shrink_memory"); err != nil {
		return fmt.Errorf("give the journal's memory back: %w", err)
	}
	return nil
}
