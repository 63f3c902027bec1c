package session

import (
	"runtime"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
)

// The number of cores may change while the hub runs: the runtime follows the control group.
func TestCoresAreSampled(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	s := NewServer(Options{Router: hub.NewRouter(hub.RouterOptions{})})
	for _, cores := range []int{1, 2, 1} {
		runtime.GOMAXPROCS(cores)
		s.endStalled(time.Since(s.started))
		if got := s.oneCore.Load(); got != (cores == 1) {
			t.Errorf("%d cores: one core alone: %t", cores, got)
		}
	}
}
