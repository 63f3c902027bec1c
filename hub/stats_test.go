package hub

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
)

// Losses are written by reason, without those that are 0, and read back the same.
func TestLossesJSON(t *testing.T) {
	for want, l := range map[string]Losses{
		`{}`:                                    {},
		`{"disconnected":7,"queue_full":3}`:     {LossFull: 3, LossDisconnected: 7},
		`{"out_of_reach":18446744073709551615}`: {LossReach: 1<<64 - 1},
	} {
		b, err := json.Marshal(l)
		if err != nil || string(b) != want {
			t.Errorf("got %s, %v, want %s", b, err, want)
		}
		again := Losses{LossServer: 1}
		if err := json.Unmarshal(b, &again); err != nil || again != l {
			t.Errorf("%s: read back %v, %v", b, again, err)
		}
	}
	var l Losses
	if err := json.Unmarshal([]byte(`{"of_a_later_version":1,"too_long":2}`), &l); err != nil || l.Total() != 2 {
		t.Errorf("got %v, %v", l, err)
	}
	if err := json.Unmarshal([]byte(`[1]`), &l); err == nil {
		t.Error("a list was read")
	}
}

// What a server's sink does not take counts by the reason.
func TestLossesOfServers(t *testing.T) {
	for name, c := range map[string]struct {
		sink Sink
		want Loss
	}{
		"full":    {&mailbox{err: fmt.Errorf("server far: %w", ErrFull)}, LossServerFull},
		"memory":  {&mailbox{err: ErrMemory}, LossServerFull},
		"closed":  {&mailbox{err: ErrClosed}, LossServer},
		"denied":  {&mailbox{err: ErrDenied}, LossServer},
		"a bug":   {panickingSink{}, LossBug},
		"unknown": {nil, LossServer},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRouter(RouterOptions{Log: slog.New(slog.DiscardHandler)})
			if c.sink != nil {
				r.Directory().SetServers(map[ServerName]Sink{"far": c.sink}, nil)
			}
			if err := r.SetRoutes([]Route{{Match: "#", To: []Address{{Server: "far"}}}}); err != nil {
				t.Fatal(err)
			}
			if err := new(sender).send(t, r, "t", "1"); err == nil {
				t.Error("the sender is told of no error")
			}
			want := Losses{}
			want[c.want] = 1
			if st := r.Stats(); st.Losses != want || st.Lost != 1 || st.Handed != 1 {
				t.Errorf("got %+v", st)
			}
		})
	}
}
