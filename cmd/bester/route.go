package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub"
)

func routeCommand() *cobra.Command {
	var t target
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "route TYPE",
		Short: "Explain the way that a message of a type would go",
		Long: `Explain the way that a message of a type would go through the hub now: which route or
handler takes it, through what, to whom, who else has subscribed to it, and which other
routes match it but are less specific. Nothing is sent.

It shows the way of a message whose sender names no recipient (--to). What a handler
answers, or a filter makes of it, such as an alarm, may go other ways. The account must
be an administrator's (bester account allow --admin NAME), or the socket must trust you.

With --json it writes one object:

  type         as given
  served       false: the hub would refuse it, unless its sender names recipients
  match        pattern of the route or handler that takes it; left out if none does
  through      list: name and kind of each step: a filter's kind, or handler
  to           list of address and state: of a user here or absent; of a server its state
               in status
  subscribers  list of user and patterns
  others       list of the less specific patterns that match, too`,
		Example: `  bester route reading/cellar
  bester route alarm/door --json | jq .to`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			typ, err := hub.ParseType(args[0])
			if err != nil {
				return usageError{err}
			}
			report, err := t.builtin(cmd.Context(), statusRequest)
			if err != nil {
				return err
			}
			way, err := explain(typ, report)
			if err != nil {
				return err
			}
			if asJSON {
				text, err := json.Marshal(way)
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(append(appendEscapedJSON(nil, text), '\n'))
				return err
			}
			return way.show(cmd.OutOrStdout())
		},
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

// A way is how a message of a type would go.
type way struct {
	Type        string          `json:"type"`
	Served      bool            `json:"served"`
	Match       string          `json:"match,omitempty"`
	Through     []waypoint      `json:"through"`
	To          []destination   `json:"to"`
	Subscribers []subscriberWay `json:"subscribers"`
	Others      []string        `json:"others"`
}

// A waypoint is a filter or handler on the way.
type waypoint struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

// A destination is an address that a route leads to.
type destination struct {
	Address string `json:"address"`
	State   string `json:"state"`
}

// A subscriberWay is a user who has subscribed to patterns that match.
type subscriberWay struct {
	User     string   `json:"user"`
	Patterns []string `json:"patterns"`
}

// explain finds the way by the hub's report.
func explain(typ hub.Type, report []byte) (*way, error) {
	var r struct {
		Users  []string
		Routes []struct {
			Match       hub.Pattern
			Through, To []string
		}
		Filters  []struct{ Name, Kind string }
		Handlers []struct {
			Name  string
			Types []hub.Pattern
		}
		Upstreams []struct{ Name, State string }
		Connected []connectedReport
	}
	if err := json.Unmarshal(report, &r); err != nil {
		return nil, fmt.Errorf("the hub's report: %w", err)
	}
	kinds := make(map[string]string)
	for _, f := range r.Filters {
		kinds[f.Name] = f.Kind
	}
	servers := make(map[string]string)
	for _, s := range r.Upstreams {
		servers[s.Name] = s.State
	}

	// What matches: of the same pattern, a route comes before a handler.
	type candidate struct {
		match       hub.Pattern
		through, to []string
	}
	var all []candidate
	for _, v := range r.Routes {
		if v.Match.Match(typ) {
			all = append(all, candidate{v.Match, v.Through, v.To})
		}
	}
	for _, h := range r.Handlers {
		for _, p := range h.Types {
			if p.Match(typ) {
				all = append(all, candidate{p, []string{h.Name}, nil})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return a.match.Compare(b.match) })

	w := &way{Type: string(typ), Through: []waypoint{}, To: []destination{}, Subscribers: []subscriberWay{}, Others: []string{}}
	for i, c := range all {
		if i > 0 {
			w.Others = append(w.Others, string(c.match))
			continue
		}
		w.Match = string(c.match)
		for _, name := range c.through {
			w.Through = append(w.Through, waypoint{name, cmp.Or(kinds[name], "handler")})
		}
		for _, to := range c.to {
			w.To = append(w.To, destination{to, stateOf(to, r.Users, servers)})
		}
	}
	for _, v := range r.Connected {
		s := subscriberWay{User: v.User}
		for _, p := range v.Subscriptions {
			if hub.Pattern(p).Match(typ) {
				s.Patterns = append(s.Patterns, p)
			}
		}
		if s.Patterns != nil && !slices.ContainsFunc(w.To, func(d destination) bool { return d.Address == v.User }) {
			w.Subscribers = append(w.Subscribers, s)
		}
	}
	w.Served = w.Match != "" || len(w.Subscribers) > 0
	return w, nil
}

// stateOf says whether somebody is at an address.
func stateOf(address string, users []string, servers map[string]string) string {
	if _, server, ok := strings.Cut(address, "@"); ok {
		return cmp.Or(servers[server], "not in [servers]")
	}
	if slices.Contains(users, address) {
		return "here"
	}
	return "absent"
}

// show writes the way for people.
func (w *way) show(out io.Writer) error {
	tab := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(label string, format string, args ...any) {
		fmt.Fprintf(tab, "%s\t%s\n", label, fmt.Sprintf(format, args...))
	}
	row("type", "%s", escapeName(w.Type))
	if w.Match == "" {
		row("route", "none, and no handler serves it")
	} else {
		row("route", "%s", escapeName(w.Match))
	}
	for i, v := range w.Through {
		label := ""
		if i == 0 {
			label = "through"
		}
		row(label, "%s (%s)", escapeName(v.Name), escapeName(v.Kind))
	}
	for i, v := range w.To {
		label := ""
		if i == 0 {
			label = "to"
		}
		row(label, "%s (%s)", escapeName(v.Address), escapeName(v.State))
	}
	for i, v := range w.Subscribers {
		label := ""
		if i == 0 {
			label = "subscribers"
		}
		row(label, "%s (%s)", escapeName(cmp.Or(v.User, "-")), escapeName(strings.Join(v.Patterns, " ")))
	}
	switch {
	case !w.Served:
		row("outcome", "refused, unless its sender names recipients: bester send --to USER")
	case w.Match != "" && len(w.To) == 0 && len(w.Subscribers) == 0:
		row("outcome", "what the handler makes of it; if it passes it on, it goes to the recipients that its sender names")
	}
	if len(w.Others) > 0 {
		row("not by", "%s, which match it less specifically", escapeName(strings.Join(w.Others, " ")))
	}
	return tab.Flush()
}
