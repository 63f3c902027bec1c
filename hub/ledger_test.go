package hub

import (
	"encoding/json"
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
