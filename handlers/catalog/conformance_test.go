package catalog_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/besterhub/bester/handlers"
	"github.com/besterhub/bester/handlers/catalog"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/link"
	"github.com/besterhub/bester/hub/wire"
)

// filters has all kinds of filters, some with several configurations.
var filters = []struct {
	name string
	o    map[string]any
}{
	{"alarm", map[string]any{"name": "temperature", "above": 21.0, "repeat": "1h"}},
	{"deadband", map[string]any{"band": 0.5, "max_age": "1h"}},
	{"throttle", map[string]any{"every": "1h"}},
	{"throttle", map[string]any{"every": "1h", "by": "name"}},
}

// data is the input of the filters: packs in both encodings, values that change and
// values that do not, and data that is no pack.
var data = []hub.Data{
	{Encoding: hub.JSON, Bytes: []byte(`[{"bn":"a/","n":"temperature","u":"Cel","v":20},{"n":"humidity","u":"%RH","v":50}]`)},
	{Encoding: hub.MessagePack, Bytes: []byte("\x91\x82\xa1n\xada/temperature\xa1v\x16")},
	{Encoding: hub.JSON, Bytes: []byte(`[{"bn":"a/","n":"temperature","u":"Cel","v":22},{"n":"humidity","u":"%RH","v":50}]`)},
	{Encoding: hub.JSON, Bytes: []byte(`{"temperature":21.5}`)},
	{Encoding: hub.MessagePack, Bytes: []byte("\xc0")},
	{Encoding: hub.JSON, Bytes: []byte(`[{"n":"a/state","vs":"ready"},{"n":"a/door","vb":true}]`)},
}

func TestEveryKindIsTested(t *testing.T) {
	for _, k := range catalog.Kinds {
		tried := false
		for _, f := range filters {
			tried = tried || f.name == k.Name
		}
		if !tried {
			t.Errorf("%s: no line in filters", k.Name)
		}
	}
}

// The same suite runs with the filter in the hub's process and across a socket.
func TestConformance(t *testing.T) {
	for _, f := range filters {
		fresh := func(t *testing.T) hub.Handler {
			t.Helper()
			h, err := catalog.New(f.name, f.o, nil)
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		t.Run(f.name+"/in the hub", func(t *testing.T) { hubtest.TestHandler(t, fresh, data...) })
		t.Run(f.name+"/across a socket", func(t *testing.T) {
			hubtest.TestHandler(t, func(t *testing.T) hub.Handler { return across(t, fresh(t)) }, data...)
		})
	}
}

// A filter gives the same answers in the hub's process and across a socket.
func TestSameAnswers(t *testing.T) {
	for _, f := range filters {
		t.Run(f.name, func(t *testing.T) {
			var answers [2][]hubtest.Answer
			for side := range answers {
				h := newFilter(t, f.name, f.o)
				if side == 1 {
					h = across(t, h)
				}
				var as hubtest.Answers
				for i, d := range packs(t) {
					as.Ask(h, &hub.Message{Type: "reading/a", From: hub.Address{User: "anna"}, ID: hub.ID{Origin: "x", Number: uint64(i)},
						Time: time.Unix(1_700_000_000+int64(i), 0), Data: d})
					as.Wait(t, i+1)
				}
				answers[side] = as.Wait(t, len(packs(t)))
			}
			for i := range answers[0] {
				here, there := answers[0][i], answers[1][i]
				if len(here.Commands) != len(there.Commands) {
					t.Fatalf("message %d: %d commands here, %d across", i, len(here.Commands), len(there.Commands))
				}
				for j, c := range here.Commands {
					d := there.Commands[j]
					if c.Verb != d.Verb || c.Type != d.Type || here.Text(j) != there.Text(j) {
						t.Errorf("message %d: %v %q %q here, %v %q %q across", i, c.Verb, c.Type, here.Text(j), d.Verb, d.Type, there.Text(j))
					}
				}
			}
		})
	}
}

// packs returns data in MessagePack, which crosses the socket unchanged.
func packs(t *testing.T) (ds []hub.Data) {
	t.Helper()
	for _, d := range data {
		if d.Encoding == hub.JSON {
			b, err := wire.ToMessagePack(nil, d.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			d = hub.Data{Encoding: hub.MessagePack, Bytes: b}
		}
		ds = append(ds, d)
	}
	return ds
}

// across serves h through the kit, over a UNIX socket, and returns the hub's side of it.
func across(t *testing.T, h hub.Handler) hub.Handler {
	t.Helper()
	dir, err := os.MkdirTemp("", "filter") // a name short enough for a socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "hub"))
	if err != nil {
		t.Fatal(err)
	}
	groups := link.NewGroups(link.GroupsOptions{Router: hub.NewRouter(hub.RouterOptions{}), Name: "test"})
	attached := make(chan struct{})
	go func() {
		defer close(attached)
		c, err := l.Accept()
		if err != nil {
			return
		}
		in := bformat.NewReader(c, 4096)
		frame, err := in.Next()
		if err == nil {
			var body []byte
			if _, _, body, err = wire.Cut(frame); err == nil {
				var hello *wire.Hello
				if hello, err = wire.ParseHello(body); err == nil {
					groups.Attach(c, in, hello, nil)
					return
				}
			}
		}
		c.Close()
		t.Errorf("hello: %v", err)
	}()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, served := make(chan struct{}), make(chan error, 1)
	go func() {
		served <- handlers.Serve(ctx, c, h, []string{"reading/#"}, handlers.Options{Name: "filter", Ready: func() { close(ready) }})
	}()
	select {
	case <-ready:
	case err := <-served:
		t.Fatalf("the hub did not take the filter: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		l.Close()
		<-attached
		if err := groups.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return groups.Group("filter")
}
