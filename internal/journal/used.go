package journal

import (
	"context"
	"encoding/json"
	"fmt"

	"riposte"
)

// Used is a mechanism that something in the journal is held by, with a command
// that it carried out.
type Used struct {
	Mechanism string
	Command   riposte.Command
}

// Mechanisms returns what the responses in the journal are held by.
func (j *Journal) Mechanisms(ctx context.Context) ([]Used, error) {
	// One pass over the responses: asked whether one EXISTS, SQLite makes an index of all of them first.
	rows, err := j.read.QueryContext(ctx, "SELECT mechanism, command FROM commands WHERE id IN (SELECT DISTINCT def FROM responses) ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("list the mechanisms in use: %w", err)
	}
	defer rows.Close()
	var out []Used
	for rows.Next() {
		var u Used
		var command []byte
		if err := rows.Scan(&u.Mechanism, &command); err != nil {
			return nil, fmt.Errorf("list the mechanisms in use: %w", err)
		}
		if err := json.Unmarshal(command, &u.Command); err != nil {
			return nil, fmt.Errorf("list the mechanisms in use: command %q: %w", command, err)
		}
		out = append(out, u)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list the mechanisms in use: %w", err)
	}
	return out, nil
}
