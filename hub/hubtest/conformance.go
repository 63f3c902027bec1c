package hubtest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
)

// TestHandler is the conformance suite of hub.Handler. It checks that Done is called
// exactly once for each message and after its commands, that nothing borrowed is used
// after Handle has returned, that messages of one sender and type are answered in order,
// and that many goroutines may call Handle at once.
//
// newHandler is called once for each subtest; it stops what it starts with t.Cleanup. The
// messages are of type "reading/test". They carry the values of data in turn, for a
// handler that looks into its data; if there are none, small values in JSON and
// MessagePack.
func TestHandler(t *testing.T, newHandler func(t *testing.T) hub.Handler, data ...hub.Data) {
	if len(data) == 0 {
		data = []hub.Data{
			{Encoding: hub.JSON, Bytes: []byte(`{"temperature":21.5}`)},
			{Encoding: hub.MessagePack, Bytes: []byte("\x81\xa1t\x15")},
			{Encoding: hub.JSON, Bytes: []byte(`"some text that is a little longer than a number"`)},
			{Encoding: hub.MessagePack, Bytes: []byte("\xc0")},
		}
	}
	t.Run("done exactly once", func(t *testing.T) { testConcurrent(t, newHandler(t), 1, 1, data) })
	t.Run("sequential", func(t *testing.T) { testSequential(t, newHandler(t), data) })
	t.Run("in order", func(t *testing.T) { testConcurrent(t, newHandler(t), 1, 300, data) })
	t.Run("concurrent", func(t *testing.T) { testConcurrent(t, newHandler(t), 8, 100, data) })
}

// testSequential waits for each answer before it sends the next message.
func testSequential(t *testing.T, h hub.Handler, data []hub.Data) {
	var as Answers
	for i := range 2 * len(data) {
		as.Ask(h, message("one", i, data))
		as.Wait(t, i+1)
	}
	checkAnswers(t, &as, 2*len(data))
}

// testConcurrent runs the senders at once. They do not wait for the answers.
func testConcurrent(t *testing.T, h hub.Handler, senders, messages int, data []hub.Data) {
	var as Answers
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range messages {
				as.Ask(h, message(fmt.Sprintf("sender%d", s), i, data))
			}
		})
	}
	wg.Wait()
	checkAnswers(t, &as, senders*messages)
}

// checkAnswers checks the answers to n messages.
func checkAnswers(t *testing.T, as *Answers, n int) {
	t.Helper()
	answers := as.Wait(t, n)
	if len(answers) != n {
		t.Errorf("got %d answers, want %d", len(answers), n)
	}
	next := make(map[hub.Address]uint64)
	for _, a := range answers {
		if got, want := a.Message.ID.Number, next[a.Message.From]; got != want {
			t.Fatalf("sender %v: message %d was answered where %d was due", a.Message.From, got, want)
		}
		next[a.Message.From]++
	}
	for _, f := range as.Faults() {
		t.Error(f)
	}
}

func message(from string, i int, data []hub.Data) *hub.Message {
	return &hub.Message{
		Type: "reading/test",
		From: hub.Address{User: hub.UserName(from)},
		To:   []hub.Address{{User: "anna"}},
		ID:   hub.ID{Origin: "test", Number: uint64(i)},
		Time: time.Unix(1700000000+int64(i), 0),
		Data: data[i%len(data)],
	}
}
