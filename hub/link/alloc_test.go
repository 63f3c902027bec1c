package link

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/besterhub/bester/handlers"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
)

// A burstSender sends messages in bursts and waits for their receipts.
type burstSender struct {
	batch hub.Batch
	wg    sync.WaitGroup
	mu    sync.Mutex
	er    error
}

func (y *burstSender) Done(m *hub.Message, err error) {
	if err != nil {
		y.mu.Lock()
		y.er = err
		y.mu.Unlock()
	}
	y.wg.Done()
}

// burst puts n messages, of each sender in turn, in one batch, as a session does with the
// messages it has read at once, and waits for their receipts.
func (y *burstSender) burst(t testing.TB, r *hub.Router, ms []*hub.Message, n int) {
	y.wg.Add(n)
	for i := range n {
		m := ms[i%len(ms)]
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

// readings are messages of 64 bytes of data for user anna, one for each of n senders.
func readings(y *burstSender, n int) []*hub.Message {
	ms := make([]*hub.Message, n)
	for i := range ms {
		ms[i] = message("reading/a", fmt.Sprint("board", i), 0, "")
		ms[i].To = []hub.Address{{User: "anna"}}
		ms[i].Data = hub.Data{Encoding: hub.MessagePack, Bytes: []byte("\xd9\x3e" + strings.Repeat("x", 62))}
		ms[i].Receipt = y
	}
	return ms
}

// Over the real socket to the kit and back nothing is allocated per message.
func TestNoAllocationPerMessage(t *testing.T) {
	if race {
		t.Skip("the race detector allocates")
	}
	for _, c := range []struct {
		name               string
		senders, processes int
		o                  handlers.Options
	}{
		{"one sender", 1, 1, handlers.Options{}},
		{"many senders", 50, 1, handlers.Options{}},
		{"few credits", 50, 1, handlers.Options{Credits: 5}},
		{"concurrent", 50, 1, handlers.Options{Concurrency: 4}},
		{"two processes", 50, 2, handlers.Options{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHub(t, Options{})
			c.o.Name = "x"
			for range c.processes {
				h.kit(hub.HandlerFunc(hubtest.Pass), c.o, "reading/#")
			}
			defer h.router.Directory().Join("anna", sink{})()
			var y burstSender
			ms := readings(&y, c.senders)
			run := func(bursts int) uint64 {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for range bursts {
					y.burst(t, h.router, ms, 64)
				}
				runtime.ReadMemStats(&after)
				return after.Mallocs - before.Mallocs
			}
			bursts := 1600
			if testing.Short() {
				bursts = 100 // emulated
			}
			run(bursts / 10)
			most := uint64(64*bursts) / 1000
			if testing.Short() {
				most = 640 // with few messages the runtime's own allocations count
			}
			if n := run(bursts); n > most {
				t.Errorf("%d allocations in %d messages, want at most %d", n, 64*bursts, most)
			} else {
				t.Logf("%d allocations in %d messages", n, 64*bursts)
			}
		})
	}
}

// BenchmarkRoundTrip is router → link → kit in a goroutine → link → router → sink, with a
// burst of 1, 16 or 64 messages at once.
func BenchmarkRoundTrip(b *testing.B) {
	for _, burst := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(burst), func(b *testing.B) {
			h := newHub(b, Options{})
			h.kit(hub.HandlerFunc(hubtest.Pass), handlers.Options{Name: "x"}, "reading/#")
			defer h.router.Directory().Join("anna", sink{})()
			var y burstSender
			ms := readings(&y, 1)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += burst {
				y.burst(b, h.router, ms, min(burst, b.N-n))
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
