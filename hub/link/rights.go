package link

import "github.com/besterhub/bester/hub"

// permit says why a command is beyond the rights of its handler process, or returns nil. A
// message that is passed on, or answered to its sender, goes where others have said.
func permit(r hub.Rights, handler string, c *hub.Command) error {
	if r == nil {
		return nil
	}
	switch c.Verb {
	case hub.SendClients, hub.SendServers:
		for _, to := range c.To {
			if !r.MayReach(to) {
				return hub.Reason(hub.ErrDenied, "handler %q: its account may not reach %q: bester account allow --add --reach", handler, to)
			}
		}
	case hub.SendHandler:
		if !r.MaySend(c.Type) {
			return hub.Reason(hub.ErrDenied, "handler %q: its account may not send type %q: bester account allow --add --send", handler, c.Type)
		}
	}
	return nil
}
