package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/besterhub/bester/hub"
)

// The way is that of the most specific pattern; of the same pattern, a route comes before a
// handler.
func TestExplainWay(t *testing.T) {
	const report = `{"users":["ann","sam"],
		"routes":[{"match":"reading/#","through":["coarse","python"],"to":["ann","bob","@house","x@elsewhere"]},
			{"match":"reading/+/t","through":[],"to":["ann"]},{"match":"#","through":[],"to":["bob"]}],
		"filters":[{"name":"coarse","kind":"deadband"}],
		"handlers":[{"name":"clock","types":["time","reading/#"]},{"name":"python","types":[]}],
		"upstreams":[{"name":"house","state":"works"}],
		"connected":[{"user":"ann","subscriptions":["reading/#"]},{"user":"sam","subscriptions":["#","time","other"]},{"user":"eve","subscriptions":[]}]}`
	for typ, want := range map[hub.Type]string{
		"reading/a": `{"type":"reading/a","served":true,"match":"reading/#","through":[{"name":"coarse","kind":"deadband"},{"name":"python","kind":"handler"}],` +
			`"to":[{"address":"ann","state":"here"},{"address":"bob","state":"absent"},{"address":"@house","state":"works"},{"address":"x@elsewhere","state":"not in [servers]"}],` +
			`"subscribers":[{"user":"sam","patterns":["#"]}],"others":["reading/#","#"]}`,
		"reading/a/t": `{"type":"reading/a/t","served":true,"match":"reading/+/t","through":[],"to":[{"address":"ann","state":"here"}],` +
			`"subscribers":[{"user":"sam","patterns":["#"]}],"others":["reading/#","reading/#","#"]}`,
		"time": `{"type":"time","served":true,"match":"time","through":[{"name":"clock","kind":"handler"}],"to":[],` +
			`"subscribers":[{"user":"sam","patterns":["#","time"]}],"others":["#"]}`,
	} {
		w, err := explain(typ, []byte(report))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(w); err != nil || string(got) != want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", typ, err, got, want)
		}
	}
	if w, err := explain("x", []byte(`{}`)); err != nil || w.Served {
		t.Errorf("nobody serves it: got %+v, %v", w, err)
	}
	if _, err := explain("x", []byte(`[]`)); err == nil {
		t.Error("a report that is none is no error")
	}
}

func TestShowWay(t *testing.T) {
	for name, c := range map[string]struct {
		way  way
		want string
	}{
		"all": {way{Type: "a/b", Served: true, Match: "a/#", Through: []waypoint{{"f", "alarm"}, {"h", "handler"}},
			To: []destination{{"ann", "here"}, {"@b", "fails"}}, Subscribers: []subscriberWay{{"sam", []string{"#", "a/b"}}}, Others: []string{"#"}},
			"type         a/b\nroute        a/#\nthrough      f (alarm)\n             h (handler)\nto           ann (here)\n             @b (fails)\n" +
				"subscribers  sam (# a/b)\nnot by       #, which match it less specifically\n"},
		"handler": {way{Type: "a", Served: true, Match: "a", Through: []waypoint{{"h", "handler"}}},
			"type     a\nroute    a\nthrough  h (handler)\noutcome  what the handler makes of it; if it passes it on, it goes to the recipients that its sender names\n"},
		"nobody": {way{Type: "a"}, "type     a\nroute    none, and no handler serves it\noutcome  refused, unless its sender names recipients: bester send --to USER\n"},
	} {
		var out bytes.Buffer
		if err := c.way.show(&out); err != nil || out.String() != c.want {
			t.Errorf("%s: %v, got\n%swant\n%s", name, err, &out, c.want)
		}
	}
}
