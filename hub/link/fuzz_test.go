package link

import (
	"encoding/binary"
	"net"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

// Whatever frames a process sends, every credit is free, in flight or overdue, and every
// message is done once the process has been removed.
func FuzzFramesOfAProcess(f *testing.F) {
	two := func(a, b []byte) []byte { return bformat.Append(bformat.Append(nil, a), b) }
	f.Add(two(answerTo(1), answerTo(2)))
	f.Add(two(answerTo(2), answerTo(1)))
	f.Add(two(answerTo(1), answerTo(1)))
	f.Add(two(wire.AppendPing(nil, 3), wire.AppendGoodbye(nil, "bye")))
	f.Add(two(wire.AppendGoodbye(nil, ""), answerTo(3)))
	f.Add(two(append(make([]byte, 8), 42), wire.AppendHello(nil, &wire.Hello{Version: 1})))
	f.Add(two(append(binary.LittleEndian.AppendUint64(nil, 1), byte(wire.KindAnswer), 0x81, 0xa1, 'a', 0xc0), answerTo(3)))
	f.Fuzz(func(t *testing.T, frames []byte) {
		gs := NewGroups(GroupsOptions{Router: hub.NewRouter(hub.RouterOptions{})})
		g, err := gs.Add(Config{Name: "x"})
		if err != nil {
			t.Fatal(err)
		}
		a, b := net.Pipe()
		defer a.Close()
		defer b.Close()
		p := newProcess(g, a, bformat.NewReader(a, 0), &wire.Hello{Credits: 3}, nil)
		g.addProcess(p)
		var as hubtest.Answers
		const n = 5 // more than it has credits for
		for i := range n {
			as.Ask(g, message("t", "anna", i, "0"))
		}
		for len(frames) >= 4 {
			size := min(int(frames[0]), len(frames)-4)
			if p.handleFrame(frames[4:4+size]) != nil {
				break
			}
			frames = frames[4+size:]
			if p.free+p.overdue+g.inFlight != p.credits() {
				t.Fatalf("%d credits free, %d owed late and %d in flight, of %d", p.free, p.overdue, g.inFlight, p.credits())
			}
		}
		g.removeProcess(p, net.ErrClosed)
		p.out.Fail(net.ErrClosed)
		if err := g.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, a := range as.Wait(t, n) {
			if a.Message.ID.Number != uint64(i) {
				t.Errorf("message %d was done where %d was due", a.Message.ID.Number, i)
			}
		}
		for _, f := range as.Faults() {
			t.Error(f)
		}
	})
}
