package hubtest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
)

func TestTheSuitePassesGoodHandlers(t *testing.T) {
	TestHandler(t, func(*testing.T) hub.Handler { return hub.HandlerFunc(Pass) })
	TestHandler(t, func(t *testing.T) hub.Handler {
		h := NewManualHandler(1000)
		stop := make(chan struct{})
		t.Cleanup(func() { close(stop) })
		go func() {
			for {
				select {
				case m := <-h.messages:
					m.Answer.Resume(nil)
					m.Answer.Reply(m.Data)
					m.Answer.Done(nil)
				case <-stop:
					return
				}
			}
		}()
		return h
	})
}

// Each kind of fault must be found: a suite that passes everything proves nothing.
func TestFaultsAreFound(t *testing.T) {
	kept := make(chan struct{})
	for _, c := range []struct {
		name, want string
		h          hub.HandlerFunc
	}{
		{"twice", "Done called twice", func(m *hub.Message, a *hub.Answer) error {
			a.Done(nil)
			return nil
		}},
		{"late", "after Done", func(m *hub.Message, a *hub.Answer) error {
			a.Done(nil)
			a.Drop()
			return nil
		}},
		{"borrowed", "borrowed only until", func(m *hub.Message, a *hub.Answer) error {
			d := m.Data
			go func() {
				<-kept
				a.Pass(d)
				close(kept)
			}()
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var as Answers
			h := hub.Handler(c.h)
			if c.name == "borrowed" {
				h = handleOnly(c.h)
			}
			as.Ask(h, message("one", 0, []hub.Data{{Bytes: []byte(`"abcdefgh"`)}}))
			if c.name == "borrowed" {
				kept <- struct{}{}
				<-kept
			}
			if f := strings.Join(as.Faults(), "\n"); !strings.Contains(f, c.want) {
				t.Errorf("faults %q, want one with %q", f, c.want)
			}
		})
	}
}

// handleOnly never calls Done.
type handleOnly func(m *hub.Message, a *hub.Answer) error

func (f handleOnly) Handle(m *hub.Message, a *hub.Answer) { f(m, a) }

func TestRecorder(t *testing.T) {
	var r Recorder
	router := hub.NewRouter(hub.RouterOptions{})
	defer router.Directory().Join("anna", &r)()
	m := message("bert", 7, []hub.Data{{Bytes: []byte("1")}})
	m.Receipt = &r
	if err := router.Put(m); err != nil {
		t.Fatal(err)
	}
	if got := r.Messages(t, 1)[0]; string(got.Data.Bytes) != "1" || got.ID.Number != 7 {
		t.Errorf("got %+v", got)
	}
	if got := r.Receipts(t, 1)[0]; got.Err != nil {
		t.Errorf("receipt: %v", got.Err)
	}
	r.Refuse(hub.ErrClosed)
	if err := r.Put(m); !errors.Is(err, hub.ErrClosed) {
		t.Errorf("refused with %v", err)
	}
}

func ExampleAnswers() {
	double := hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		a.Pass(m.Data)
		a.Pass(m.Data)
		return nil
	})
	var as Answers
	as.Ask(double, &hub.Message{Type: "echo", Time: time.Now(), Data: hub.Data{Bytes: []byte("7")}})
	answer := as.Wait(new(testing.T), 1)[0] // in a test: its own t
	fmt.Println(len(answer.Commands), answer.Text(0), answer.Err)
	// Output: 2 7 <nil>
}
