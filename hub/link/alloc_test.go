package link

import (
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/besterhub/bester/handlers"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
)

// A tally is a sender that waits for its receipts.
type tally struct {
	batch hub.Batch
	wg    sync.WaitGroup
	mu    sync.Mutex
	er    error
}

func (y *tally) Done(m *hub.Message, err error) {
	if err != nil {
		y.mu.Lock()
		y.er = err
		y.mu.Unlock()
	}
	y.wg.Done()
}

// burst puts n messages as a session does that has read them at once, and waits for what becomes of them.
func (y *tally) burst(t testing.TB, r *hub.Router, m *hub.Message, n int) {
	y.wg.Add(n)
	for range n {
		m.Batch = &y.batch
		if err := r.Put(m); err != nil {
			t.Fatal(err)
		}
	}
	y.batch.Flush()
	y.wg.Wait()
	if y.er != nil {
		t.Fatal(y.er)
	}
}

// sink is a session that takes everything.
type sink struct{}

func (sink) Put(*hub.Message) error { return nil }

// reading is a message of 64 bytes of data for user anna.
func reading(y *tally) *hub.Message {
	m := message("reading/a", "board", 0, "")
	m.To = []hub.Address{{User: "anna"}}
	m.Data = hub.Data{Encoding: hub.MessagePack, Bytes: []byte("\xd9\x3e" + strings.Repeat("x", 62))}
	m.Receipt = y
	return m
}

// Over the real socket to the kit and back nothing is allocated per message.
func TestNoAllocationPerMessage(t *testing.T) {
	if race {
		t.Skip("the race detector allocates")
	}
	h := newHub(t, Options{})
	h.kit(hub.HandlerFunc(hubtest.Pass), handlers.Options{Name: "x"}, "reading/#")
	defer h.router.Directory().Join("anna", sink{})()
	var y tally
	m := reading(&y)
	run := func(bursts int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range bursts {
			y.burst(t, h.router, m, 64)
		}
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs
	}
	run(100)
	const bursts = 1600
	if n := run(bursts); n*1000 > 64*bursts {
		t.Errorf("%d allocations in %d messages, want fewer than 1 per 1000", n, 64*bursts)
	} else {
		t.Logf("%d allocations in %d messages", n, 64*bursts)
	}
}

// BenchmarkRoundTrip is router → link → kit in a goroutine → link → router → sink.
func BenchmarkRoundTrip(b *testing.B) {
	for _, c := range []struct {
		name  string
		burst int
	}{{"one", 1}, {"16", 16}, {"64", 64}} {
		b.Run(c.name, func(b *testing.B) {
			h := newHub(b, Options{})
			h.kit(hub.HandlerFunc(hubtest.Pass), handlers.Options{Name: "x"}, "reading/#")
			defer h.router.Directory().Join("anna", sink{})()
			var y tally
			m := reading(&y)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += c.burst {
				y.burst(b, h.router, m, min(c.burst, b.N-n))
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
