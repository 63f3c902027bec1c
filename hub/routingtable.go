package hub

// A Route is the operator's pipeline: the types it matches, the handlers that process
// a message in turn, and the receivers it goes to then.
type Route struct {
	Match   Pattern   // the types that take the route
	Through []Handler // called one after the other, each with what the one before passes on
	To      []Address // where it goes in the end
}

// A pipeline is what the router does with messages of a type: that of a route or of a
// single handler, or of neither if it only has subscribers.
type pipeline struct {
	match       Pattern
	handlers    []Handler
	users       []*user   // receivers here
	servers     []Address // receivers elsewhere
	subscribers []subscriber
	last        *lastValue // keeps the last message; nil: none is kept
}

// hasReceivers reports whether a route says where messages go.
func (p *pipeline) hasReceivers() bool { return len(p.users)+len(p.servers) > 0 }

// A routingTable maps patterns to pipelines. A new table replaces it when a route or
// handler is added or removed.
type routingTable struct {
	pipelines trie[*pipeline]
	users     []*user // pinned for it, some more than once
}

// newRoutingTable returns the table of routes and handlers. Where several have the same
// pattern, a route takes precedence, and then the handler of the last map.
func newRoutingTable(routes []Route, d *Directory, handlers ...map[Pattern]Handler) *routingTable {
	t := new(routingTable)
	for _, m := range handlers {
		for p, h := range m {
			*t.pipelines.at(p) = &pipeline{match: p, handlers: []Handler{h}}
		}
	}
	for _, r := range routes {
		pl := &pipeline{match: r.Match, handlers: r.Through}
		for _, a := range r.To {
			if a.Server == "" {
				u := d.pin(a.User)
				pl.users, t.users = append(pl.users, u), append(t.users, u)
			} else {
				pl.servers = append(pl.servers, a)
			}
		}
		*t.pipelines.at(r.Match) = pl
	}
	return t
}

// lookup returns the pipeline of a type, or nil: that of the most specific pattern.
func (t *routingTable) lookup(typ Type) (pl *pipeline) {
	t.pipelines.each(typ, func(v *pipeline) bool { pl = v; return true })
	return pl
}
