package hub

import (
	"fmt"
	"testing"
)

// However many types are used, each is found, and no more than the limit are kept. Types
// that come again and again are soon found without a lock.
func TestLookupsAreBounded(t *testing.T) {
	r := NewRouter(RouterOptions{})
	serve(t, r, "t/#", do(Command{Verb: Drop}))
	l := r.lookups.Load()
	kept := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(*l.known.Load()) + len(l.fresh)
	}
	for i := range 3 * maxLookups {
		if r.lookup(Type(fmt.Sprintf("t/%d", i)), nil) == nil || r.lookup("t/0", nil) == nil || r.lookup(Type(fmt.Sprintf("u/%d", i)), nil) != nil {
			t.Fatalf("wrong at %d", i)
		}
		if n := kept(); n > maxLookups {
			t.Fatalf("%d types are kept, at most %d should be", n, maxLookups)
		}
	}
	for range maxLookups + 1 {
		r.lookup("t/0", nil)
	}
	if (*l.known.Load())["t/0"] == nil {
		t.Error("a type that is looked up all the time still needs the lock")
	}
}
