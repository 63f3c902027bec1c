package hub

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"weak"
)

type flusherFunc func()

func (f flusherFunc) Flush() { f() }

// A flusher that panics keeps no other from being flushed, and the batch goes on.
func TestBatchFlushesAllIfSomePanic(t *testing.T) {
	var b Batch
	var got []string
	flusher := func(name string, panics bool) Flusher {
		return flusherFunc(func() {
			got = append(got, name)
			if panics {
				panic(name)
			}
		})
	}
	flush := func() (p any) {
		defer func() { p = recover() }()
		b.Flush()
		return nil
	}
	b.Add(flusher("a", false))
	b.Add(flusher("b", true))
	b.Add(flusher("c", false))
	b.Add(flusher("d", true))
	b.Add(flusher("e", false))
	if p := flush(); p == nil {
		t.Error("the panic is lost")
	}
	if want := []string{"a", "b", "c", "d", "e"}; !slices.Equal(got, want) {
		t.Errorf("flushed %q, want %q", got, want)
	}
	got = nil
	b.Add(flusher("f", false))
	if p := flush(); p != nil {
		t.Errorf("the next flush panicked: %v", p)
	}
	if want := []string{"f"}; !slices.Equal(got, want) {
		t.Errorf("flushed %q, want %q", got, want)
	}
}

// eventually runs the garbage collector until f reports true.
func eventually(f func() bool) bool {
	for range 100 {
		if runtime.GC(); f() {
			return true
		}
	}
	return false
}

// Batches that are idle do not keep the tables alive that they have used.
func TestIdleBatchKeepsNoOldTable(t *testing.T) {
	r := NewRouter(RouterOptions{})
	var b Batch
	large := new([1 << 20]byte)
	filter := weak.Make(large)
	stop, err := r.Serve("t", HandlerFunc(func(m *Message, a *Answer) error {
		a.Reply(Data{JSON, large[:1]})
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	table := weak.Make(r.lookups.Load().table)
	if err := r.Put(&Message{Type: "t", Receipt: new(sender), Data: text("1"), Batch: &b}); err != nil {
		t.Fatal(err)
	}
	b.Flush() // and is idle from now on
	stop()
	large = nil
	if !eventually(func() bool { return table.Value() == nil && filter.Value() == nil }) {
		t.Errorf("alive: table %t, handler %t", table.Value() != nil, filter.Value() != nil)
	}
	runtime.KeepAlive(&b)
	runtime.KeepAlive(r)
}

type reachAll struct{ _ [100]byte }

func (*reachAll) MayReach(Address) bool { return true }

// A batch that has been flushed does not keep alive who sent the messages before: the
// receipts and batches of sessions that have ended.
func TestFreeAnswersKeepNoSession(t *testing.T) {
	for _, answers := range []int{1, 2 * maxFreeAnswers} { // the free list, and the pool
		t.Run(fmt.Sprint(answers), func(t *testing.T) {
			r := NewRouter(RouterOptions{})
			var held []*Answer
			if _, err := r.Serve("t", handlerFunc(func(m *Message, a *Answer) {
				a.Detach()
				held = append(held, a)
			})); err != nil {
				t.Fatal(err)
			}
			var worker Batch // of who answers
			var receipt weak.Pointer[sender]
			var reach weak.Pointer[reachAll]
			var batch weak.Pointer[Batch]
			func() {
				s, all, b := new(sender), new(reachAll), new(Batch)
				receipt, reach, batch = weak.Make(s), weak.Make(all), weak.Make(b)
				for range answers {
					if err := r.Put(&Message{Type: "t", Receipt: s, Reach: all, Data: text("1"), Batch: b}); err != nil {
						t.Fatal(err)
					}
				}
				b.Flush()
				for _, a := range held {
					a.Resume(&worker)
					a.Done(errors.New("no"))
				}
			}()
			clear(held)
			worker.Flush()
			if !eventually(func() bool { return receipt.Value() == nil && reach.Value() == nil && batch.Value() == nil }) {
				t.Errorf("alive: receipt %t, reach %t, batch %t", receipt.Value() != nil, reach.Value() != nil, batch.Value() != nil)
			}
			runtime.KeepAlive(&worker)
			runtime.KeepAlive(r)
		})
	}
}

type handlerFunc func(m *Message, a *Answer)

func (f handlerFunc) Handle(m *Message, a *Answer) { f(m, a) }

// The directory forgets users that routes have named once a new table does not name them,
// unless they have a session. A message that is still under way on an old route reaches a
// user who has come back since.
func TestRoutesUnpinUsers(t *testing.T) {
	r := NewRouter(RouterOptions{})
	d := r.Directory()
	var held *Answer
	hold := handlerFunc(func(m *Message, a *Answer) {
		a.Detach()
		held = a
	})
	for i := range 100 {
		route := Route{Match: "t", Through: []Handler{hold}, To: users(fmt.Sprint("user", i), "ann", "ann")}
		if err := r.SetRoutes([]Route{route, {Match: "u", To: users("ann")}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.users) != 2 {
		t.Errorf("%d users, want 2", len(d.users))
	}
	leave := d.Join("ann", new(mailbox))
	if err := r.Put(&Message{Type: "t", Data: text("1")}); err != nil {
		t.Fatal(err)
	}
	if err := r.SetRoutes(nil); err != nil {
		t.Fatal(err)
	}
	if len(d.users) != 1 {
		t.Errorf("%d users, want ann alone", len(d.users))
	}
	leave()
	if len(d.users) != 0 {
		t.Errorf("%d users, want none", len(d.users))
	}
	back := new(mailbox)
	defer d.Join("ann", back)()
	held.Resume(nil)
	held.Pass(text("2"))
	held.Done(nil)
	back.want(t, "t<> 2", "t<> 2")
}
