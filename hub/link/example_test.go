package link_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/besterhub/bester/handlers"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/link"
	"github.com/besterhub/bester/hub/wire"
)

// A printer is a session that prints what it is given.
type printer struct{ done chan struct{} }

func (p printer) Put(m *hub.Message) error {
	fmt.Println(m.Type, "from", m.From, "is", len(m.Data.Bytes), "bytes of", m.Data.Encoding)
	return nil
}

func (p printer) Done(m *hub.Message, err error) {
	fmt.Println("receipt:", err)
	close(p.done)
}

// A hub with a listener, and a handler that dials in to it and passes on what it gets. In
// a real hub the listener checks whether the process may serve its types.
func ExampleGroups() {
	dir, _ := os.MkdirTemp("", "link")
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "bester.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		fmt.Println(err)
		return
	}
	router := hub.NewRouter(hub.RouterOptions{})
	groups := link.NewGroups(link.GroupsOptions{Router: router, Name: "greenhouse"})
	go func() {
		c, _ := listener.Accept()
		in := bformat.NewReader(c, 4096)
		frame, _ := in.Next()
		_, _, body, _ := wire.Cut(frame)
		hello, _ := wire.ParseHello(body)
		groups.Attach(c, in, hello, nil)
	}()

	ready := make(chan struct{})
	conn, _ := net.Dial("unix", socket)
	go handlers.Serve(context.Background(), conn, hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		a.Pass(m.Data)
		return nil
	}), []string{"reading/#"}, handlers.Options{Name: "passer", Ready: func() { close(ready) }})
	<-ready

	anna := printer{make(chan struct{})}
	defer router.Directory().Join("anna", anna)()
	router.Put(&hub.Message{
		Type: "reading/bme280", From: hub.Address{User: "board"}, To: []hub.Address{{User: "anna"}},
		Data: hub.Data{Encoding: hub.JSON, Bytes: []byte("21.5")}, Receipt: anna,
	})
	<-anna.done
	groups.Shutdown(context.Background())
	// Output:
	// reading/bme280 from board is 4 bytes of JSON
	// receipt: <nil>
}
