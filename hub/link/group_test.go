package link

import (
	"fmt"
	"strings"
	"testing"

	"github.com/besterhub/bester/handlers"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func TestGroupKeepsTheContractOfHandlers(t *testing.T) {
	for name, kit := range map[string]func(h *testHub){
		"one process": func(h *testHub) {
			h.kit(hub.HandlerFunc(hubtest.Pass), handlers.Options{Name: "x"}, "reading/#")
		},
		"one credit": func(h *testHub) {
			h.kit(hub.HandlerFunc(hubtest.Pass), handlers.Options{Name: "x", Credits: 1}, "reading/#")
		},
		"three processes": func(h *testHub) {
			for range 3 {
				h.kit(hub.HandlerFunc(hubtest.Pass), handlers.Options{Name: "x", Credits: 7, Concurrency: 3}, "reading/#")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			hubtest.TestHandler(t, func(t *testing.T) hub.Handler {
				h := newHub(t, Options{})
				kit(h)
				return h.Group("x")
			})
		})
	}
}

// A message that comes back to the same handler, or goes through it twice, does not deadlock.
func TestRoundAndRound(t *testing.T) {
	for name, o := range map[string]handlers.Options{
		"one credit":  {Name: "x", Credits: 1},
		"concurrency": {Name: "x", Concurrency: 4},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, Options{})
			h.kit(hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
				if m.Hops < 10 {
					a.SendHandler(m.Data, m.Type)
				} else {
					a.Pass(m.Data)
				}
				return nil
			}), o, "round")
			var r hubtest.Recorder
			defer h.router.Directory().Join("anna", &r)()
			x := h.Group("x")
			h.router.SetRoutes([]hub.Route{{Match: "twice", Through: []hub.Handler{x, x}, To: []hub.Address{{User: "anna"}}}})
			const n = 50
			for i := range n {
				m := message("round", "board", i, fmt.Sprint(i))
				m.To = []hub.Address{{User: "anna"}}
				m.Receipt = &r
				if err := h.router.Put(m); err != nil {
					t.Fatal(err)
				}
				m = message("twice", "board", i, fmt.Sprint(i))
				m.Receipt, m.Hops = &r, 10
				h.router.Put(m)
			}
			for _, o := range r.Receipts(t, 2*n) {
				if o.Err != nil {
					t.Error(o.Err)
				}
			}
			next := make(map[hub.Type]uint64)
			for _, m := range r.Messages(t, 2*n) {
				if m.ID.Number != next[m.Type] {
					t.Fatalf("%s: message %d came where %d was due", m.Type, m.ID.Number, next[m.Type])
				}
				next[m.Type]++
			}
		})
	}
}

// A jobRecorder records a job for each message and answers none.
type jobRecorder struct{ jobs []*job }

func (k *jobRecorder) Handle(m *hub.Message, a *hub.Answer) { k.jobs = append(k.jobs, newJob(m, a, 0)) }

// The memory of an answered job is reused while the goroutine that executed its answer
// goes on with others.
func TestReplyIsUsedOnce(t *testing.T) {
	var k jobRecorder
	var as hubtest.Answers
	ask(&as, &k, "anna", 2)
	reply := func(word string) []byte {
		var e wire.AnswerEncoder
		e.Begin(nil, 1)
		e.Command(&hub.Command{Verb: hub.Reply, Data: hub.Data{Encoding: hub.JSON, Bytes: []byte(word)}})
		_, _, body, err := wire.Cut(e.End(nil))
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	h := executionState{batch: new(hub.Batch)}
	j := k.jobs[0]
	h.job = j
	var err error
	if h.answer, err = h.dec.Answer(reply("1")); err != nil {
		t.Fatal(err)
	}
	j.finish(&Group{name: "x"}, &h)
	*j = *k.jobs[1]
	j.answer = reply("2")
	j.finish(&Group{name: "x"}, &h)
	for i, a := range as.Wait(t, 2) {
		if want := string(rune(i + 1)); a.Err != nil || a.Text(0) != want {
			t.Errorf("message %d got answer %q (%v), want %q", a.Message.ID.Number, a.Text(0), a.Err, want)
		}
	}
}

func TestOutOfOrderAnswersAreBounded(t *testing.T) {
	g := newGroup("x", Options{QueueBytes: 100}, nil)
	g.bytes = 200
	var j job
	g.bufferAnswer(&j, []byte("1"))
	wantErr(t, j.err, hub.ErrFull, "fill 200 bytes already")
}
