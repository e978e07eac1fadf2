package script

import (
	"fmt"
	"sync"

	"riposte/internal/enforce"
)

// capture keeps the beginning and the end of what is written to it: of what a
// script prints the one tells what it was about to do, the other why it could
// not.
type capture struct {
	limit int // bytes that are kept: three quarters of the beginning, one of the end

	mu   sync.Mutex
	head []byte
	tail []byte // the last bytes after head
	lost int    // bytes between the two
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(p)
	most := c.limit / 4 // of the end
	if room := c.limit - most - len(c.head); room > 0 {
		k := min(room, len(p))
		c.head = append(c.head, p[:k]...)
		p = p[k:]
	}
	c.tail = append(c.tail, p[max(0, len(p)-most):]...)
	over := max(0, len(c.tail)-most)
	c.lost += over + max(0, len(p)-most)
	c.tail = append(c.tail[:0], c.tail[over:]...)
	return n, nil
}

// String returns what was kept, made visible.
func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := string(c.head)
	if c.lost > 0 {
		s += fmt.Sprintf("\n… %d bytes left out …\n", c.lost)
	}
	return enforce.Visible(s + string(c.tail))
}
