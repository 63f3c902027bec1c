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
// The kit takes any hub.Handler, so the same code runs as a filter in the hub's routes
// and as a process of its own. In its hello the kit tells the hub which types it serves
// and how many messages it takes at a time. It hands each message to the handler and
// sends the handler's commands back to the hub. A panic in the handler fails only the
// message that was being handled.
//
// [Main] is a complete program. [Program] is a program with flags of its own. [Serve]
// works on an existing connection.
package handlers

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/besterhub/bester/hub"
)

// Main is the main function of a handler of these types (patterns such as
// "reading/#"). It serves the hub until SIGTERM or SIGINT, then says goodbye, finishes
// the messages in flight, and exits. See Program for its flags and exit codes. It does
// not return.
func Main(h hub.Handler, types ...string) {
	MainOf(Program{Types: types, New: func() (hub.Handler, error) { return h, nil }})
}

// MainOf is Main for a program with a name, a help text or flags of its own. It does not return.
func MainOf(p Program) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // the second signal ends it at once
	os.Exit(p.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
