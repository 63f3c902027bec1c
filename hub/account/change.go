package account

import (
	"fmt"
	"sync"
	"time"

	"github.com/besterhub/bester/hub"
)

// How often an account may change its own password, since each change writes the file: a
// burst, and then one each interval.
const (
	changeBurst    = 5
	changeInterval = time.Minute
)

// changes are the changes of the file that wait to be written, and how often accounts
// have made some.
type changes struct {
	mu      sync.Mutex
	waiting []*change
	full    map[hub.UserName]time.Time // when an account may have a whole burst again
}

// A change is one edit of the file.
type change struct {
	edit func(*document) error // changes nothing if it returns an error
	done bool
	err  error
}

// limit counts a change of the account, or returns how long it must wait before one.
func (c *changes) limit(name hub.UserName, now time.Time) (wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.full) >= MaxAccounts { // some belong to accounts that were removed
		for name, t := range c.full {
			if !t.After(now) {
				delete(c.full, name)
			}
		}
	}
	full := c.full[name]
	if full.Before(now) {
		full = now
	}
	if full = full.Add(changeInterval); full.Sub(now) > changeBurst*changeInterval {
		return full.Sub(now) - changeBurst*changeInterval
	}
	if c.full == nil {
		c.full = make(map[hub.UserName]time.Time)
	}
	c.full[name] = full
	return 0
}

// change has edit change the file, and returns when it is written. All changes that wait
// while the file is being written are written together.
func (s *Store) change(edit func(*document) error) error {
	c := &change{edit: edit}
	s.changes.mu.Lock()
	s.changes.waiting = append(s.changes.waiting, c)
	s.changes.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.done { // else it was written together with another
		s.changes.mu.Lock()
		group := s.changes.waiting
		s.changes.waiting = nil
		s.changes.mu.Unlock()
		s.write(group)
	}
	return c.err
}

// write locks the file, reads it, and replaces it by one with all changes of the group.
// Where these are too much for one file, it tries each alone.
func (s *Store) write(group []*change) {
	err := s.rewrite(group)
	if _, tooLarge := err.(*tooLargeError); tooLarge && len(group) > 1 {
		for i := range group {
			s.write(group[i : i+1])
		}
		return
	}
	for _, c := range group {
		if c.done = true; c.err == nil {
			c.err = err
		}
	}
}

// rewrite is write, without the second attempt. A change that cannot be made has its own
// error.
func (s *Store) rewrite(group []*change) error {
	f, target, err := lock(s.path)
	if err != nil {
		return err
	}
	defer f.Close() // and with it the lock
	doc, err := read(f, s.path)
	if err != nil {
		return err
	}
	changed := false
	for _, c := range group {
		if c.err = c.edit(doc); c.err == nil {
			changed = true
		}
	}
	if !changed {
		return nil
	}
	data := doc.seal()
	if _, err := parse(data); err != nil { // a limit is exceeded: a file that cannot be read must not be written
		return &tooLargeError{s.path, err}
	}
	if err := replaceAtomically(f, target, data); err != nil {
		return err
	}
	s.setTable(doc)
	return nil
}

// A tooLargeError says that a changed file could not be read again.
type tooLargeError struct {
	path string
	err  error
}

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("account: nothing was changed: %s would become too large: %v", e.path, e.err)
}

func (e *tooLargeError) Unwrap() error { return e.err }
