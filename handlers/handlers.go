// Package handlers is the kit for message handlers in Go: programs of their own that
// the hub reaches over its UNIX socket. One is a function and a call:
//
//	func main() {
//		handlers.Main(hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
//			a.Pass(m.Data)
//			return nil
//		}), "reading/#")
//	}
//
// What it is given is any hub.Handler, so that a filter runs in the hub's routes and as a
// process of its own by the same code. The kit says hello to the hub, which types it
// serves and how many messages it takes at a time, hands each message to the handler,
// and sends back what the handler wants done with it. A handler that panics has failed
// with that one message.
//
// [Main] is a whole program; [Program] is one with flags of its own; [Serve] works on
// a connection that one has already.
package handlers

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/besterhub/bester/hub"
)

// Main is the main function of a handler of these types (patterns such as
// "reading/#"): it serves the hub until SIGTERM or SIGINT, then says goodbye, finishes
// what it has, and exits. See Program for its flags and exit codes. It does not return.
func Main(h hub.Handler, types ...string) {
	MainOf(Program{Types: types, New: func() (hub.Handler, error) { return h, nil }})
}

// MainOf is Main for a program with a name, a help text or flags of its own. It does not return.
func MainOf(p Program) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // the second signal ends it at once
	os.Exit(p.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
