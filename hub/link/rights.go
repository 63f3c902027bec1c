package link

import "github.com/besterhub/bester/hub"

// Rights are what the commands of a handler process may do. They are asked for each
// command, so they may change while the process is connected.
type Rights interface {
	// MayReach reports whether its commands may hand messages to a user or server.
	MayReach(to hub.Address) bool
	// MaySend reports whether its commands may give messages to the handler of a type.
	MaySend(t hub.Type) bool
}

// permit says why a command is beyond the rights of its handler process, or returns nil. A
// message that is passed on, or answered to its sender, goes where others have said.
func permit(r Rights, handler string, c *hub.Command) error {
	if r == nil {
		return nil
	}
	switch c.Verb {
	case hub.SendClients, hub.SendServers:
		for _, to := range c.To {
			if !r.MayReach(to) {
				return hub.Reason(hub.ErrDenied, "handler %q: its account may not reach %q: bester account allow --reach", handler, to)
			}
		}
	case hub.SendHandler:
		if !r.MaySend(c.Type) {
			return hub.Reason(hub.ErrDenied, "handler %q: its account may not send type %q: bester account allow --send", handler, c.Type)
		}
	}
	return nil
}
