package client_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/client"
	"github.com/besterhub/bester/hub/session"
	"github.com/besterhub/bester/hub/wire"
)

func Example() {
	// A hub that trusts this user on its UNIX socket. A program would connect to a running one.
	dir, err := os.MkdirTemp("", "hub")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "hub.sock")
	l, err := session.Listen("unix", path, session.ListenOptions{TrustPeerCredentials: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := session.NewServer(session.Options{Router: hub.NewRouter(hub.RouterOptions{Name: "home"}), Hub: "home"})
	go server.Serve(l)
	defer server.Shutdown(context.Background())

	ctx := context.Background()
	gardener, err := client.Dial(ctx, "unix", path, client.Options{User: "gardener", Deliver: func(m *hub.Message) {
		json, _ := wire.AppendJSON(nil, m.Data)
		fmt.Printf("%s from %s: %s\n", m.Type, m.From, json)
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	greenhouse, err := client.Dial(ctx, "unix", path, client.Options{User: "greenhouse"})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = greenhouse.Send(ctx, &hub.Message{
		Type: "alarm/frost",
		To:   []hub.Address{{User: "gardener"}},
		Data: hub.Data{Encoding: hub.JSON, Bytes: []byte(`{"v":-0.5}`)},
	})
	fmt.Println(greenhouse.Hub(), "says:", err)
	greenhouse.Close(ctx)
	gardener.Close(ctx) // its delivery has been called by now

	// Unordered output:
	// home says: <nil>
	// alarm/frost from greenhouse: {"v":-0.5}
}
