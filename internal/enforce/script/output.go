package script

import (
	"fmt"
	"sync"

	"riposte/internal/enforce"
)

// Of what a script prints the beginning and the end are kept: the one tells
// what it was about to do, the other why it could not.
const (
	keepHead = 6 << 10
	keepTail = 2 << 10
)

// capture keeps the beginning and the end of what is written to it.
type capture struct {
	mu   sync.Mutex
	head []byte
	tail []byte // the last bytes after head, up to twice keepTail
	lost int    // bytes between the two
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(p)
	if room := keepHead - len(c.head); room > 0 {
		k := min(room, len(p))
		c.head = append(c.head, p[:k]...)
		p = p[k:]
	}
	if len(p) > keepTail {
		c.lost += len(c.tail) + len(p) - keepTail
		c.tail = append(c.tail[:0], p[len(p)-keepTail:]...)
		return n, nil
	}
	c.tail = append(c.tail, p...)
	if over := len(c.tail) - keepTail; over > 0 {
		c.lost += over
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
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
