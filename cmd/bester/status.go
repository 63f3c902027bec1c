package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/resource"
	"github.com/besterhub/bester/hub/wire"
)

func statusCommand() *cobra.Command {
	var t target
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the hub is doing",
		Long: `Show what the hub is doing: its listeners, users, routes, filters, handlers, servers
and devices, and what became of the messages since it started. The account must be an administrator's
(bester account allow --admin NAME), or the socket must trust you.

` + statusLegend + `

With --json it writes one object. Later versions may add fields.

` + statusKeys,
		Example: `  bester status
  bester status --json | jq .router.delivered
  bester status --json | jq -r '.upstreams[] | select(.state == "fails") | .name'`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := t.builtin(cmd.Context(), statusRequest)
			if err != nil {
				return err
			}
			if asJSON {
				_, err := cmd.OutOrStdout().Write(append(appendEscapedJSON(nil, report), '\n'))
				return err
			}
			name, _ := t.userName()
			return showStatus(cmd.OutOrStdout(), report, string(name))
		},
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

const statusRequest = `{"command":{"type":"status"}}`

// builtin has the hub carry out a command of its own, and returns what it replies.
func (t *target) builtin(ctx context.Context, command string) ([]byte, error) {
	ctx, cancel := t.within(ctx)
	defer cancel()
	c, err := t.dial(ctx, sendOnly)
	if err != nil {
		return nil, err
	}
	defer closeClient(ctx, c)
	m := &hub.Message{Type: "builtin", Data: hub.Data{Encoding: hub.JSON, Bytes: []byte(command)}}
	var reply []byte
	var bad error
	err = c.Request(ctx, m, func(m *hub.Message) { reply, bad = wire.AppendJSON(nil, m.Data) })
	if err == nil {
		err = bad
	}
	return reply, t.requestError(err, "")
}

// showStatus writes a report for people, without the session of self, who asked for it.
// It leaves out the parts that it does not know.
func showStatus(out io.Writer, report []byte, self string) error {
	var r struct {
		Hub, Version string
		PID          int
		Uptime       float64
		Memory       uint64
		LogLost      uint64 `json:"log_lost"`
		Limits       struct {
			Memory        uint64
			From          string
			SessionMemory uint64 `json:"session_memory"`
			Connections   int
			PerAccount    int `json:"per_account"`
			Descriptors   int
		}
		Listeners []string
		Users     []string
		Router    messageReport
		Receivers []receiverReport
		Connected []connectedReport
		Sessions  map[string]uint64
		Servers   map[string]uint64
		Handlers  []struct {
			Name                                      string
			Types                                     []string
			Native                                    bool
			Processes, Waiting                        int
			InFlight                                  int `json:"in_flight"`
			Answered, Failed, Timeouts, Refused, Late uint64
			Unmatched                                 uint64
			Restarts                                  uint64
			ExitReason                                string `json:"exit_reason"`
		}
		Refused uint64 `json:"handlers_refused"`
		Devices []struct {
			Name, Kind                              string
			Reads, Failures, Skipped, Sent, Refused uint64
			Lost                                    uint64
			State, Error                            string
		}
		Upstreams []struct {
			Name, Address, State, Error string
			Sent, Unconfirmed, Failed   uint64
			Waiting                     int
			Since                       time.Time
		}
		Filters []struct {
			Name, Kind string
			Counts     map[string]uint64
		}
		Routes []struct {
			Match       string
			Through, To []string
		}
	}
	d := json.NewDecoder(bytes.NewReader(report))
	if err := d.Decode(&r); err != nil {
		return fmt.Errorf("the hub's report: %w", err)
	}
	if i := slices.Index(r.Users, self); i >= 0 && r.Sessions["sessions"] > 0 {
		r.Users = slices.Delete(r.Users, i, i+1)
		r.Sessions["sessions"]--
		r.Connected = withoutSelf(r.Connected, self)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	up := (time.Duration(r.Uptime) * time.Second).String()
	fmt.Fprintf(w, "hub\t%s (besterd %s, pid %d), up %s, %s of memory\n", escapeName(r.Hub), escapeName(r.Version), r.PID, up, resource.Size(r.Memory))
	if r.LogLost > 0 {
		fmt.Fprintf(w, "log\t%s lost: its reader was not there, or did not read\n", counterList(map[string]uint64{"lost": r.LogLost}, logCounts))
	}
	if l := r.Limits; l.Connections > 0 {
		fmt.Fprintf(w, "limits\t%s, %s for sessions, %d connections (%d of one account)\n",
			memoryLimit(l.Memory, l.From), resource.Size(uint64(l.SessionMemory)), l.Connections, l.PerAccount)
	}
	fmt.Fprintf(w, "listens\t%s\n", escapeText(strings.Join(r.Listeners, " ")))
	fmt.Fprintf(w, "users\t%s\n", userList(r.Users, r.Receivers))
	fmt.Fprintf(w, "messages\t%s%s\n", counterList(r.Router.counts, messageCounts), reasonList(r.Router.Failures))
	fmt.Fprintf(w, "deliveries\t%s%s\n", counterList(r.Router.counts, deliveryCounts), reasonList(r.Router.Losses))
	sessions := counterList(r.Sessions, sessionCounts)
	if n := r.Sessions["memory"]; n > 0 {
		sessions += fmt.Sprintf(", %s of session.memory taken", resource.Size(n))
	}
	fmt.Fprintf(w, "sessions\t%s\n", sessions)
	if r.Servers["sent"]+r.Servers["unconfirmed"]+r.Servers["failed"]+r.Servers["waiting"] > 0 {
		fmt.Fprintf(w, "servers\t%s\n", counterList(r.Servers, serverCounts))
	}
	writeConnected(w, r.Connected)
	writeReceivers(w, r.Receivers)
	if len(r.Routes) > 0 {
		fmt.Fprintf(w, "\nROUTE\tTHROUGH\tTO\n")
		for _, v := range r.Routes {
			fmt.Fprintf(w, "%s\t%s\t%s\n", escapeName(v.Match), nameList(v.Through), nameList(v.To))
		}
	}
	if len(r.Filters) > 0 {
		fmt.Fprintf(w, "\nFILTER\tKIND\tCOUNTS\n")
		for _, f := range r.Filters {
			fmt.Fprintf(w, "%s\t%s\t%s\n", escapeName(f.Name), escapeName(f.Kind), allCounters(f.Counts))
		}
	}
	if len(r.Upstreams) > 0 {
		fmt.Fprintf(w, "\nSERVER\tADDRESS\tSENT\tUNCONFIRMED\tFAILED\tWAITING\tSTATE\n")
		failures := ""
		for _, v := range r.Upstreams {
			state := escapeName(v.State)
			if !v.Since.IsZero() {
				state += ", " + time.Since(v.Since).Round(time.Second).String() + " ago"
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%s\n", escapeName(v.Name), escapeName(v.Address), v.Sent, v.Unconfirmed, v.Failed, v.Waiting, state)
			if v.Error != "" {
				failures += escapeText(v.Error) + "\n"
			}
		}
		io.WriteString(w, failures)
	}
	if len(r.Handlers) > 0 {
		fmt.Fprintf(w, "\nHANDLER\tTYPES\tPROCESSES\tWAITING\tIN FLIGHT\tANSWERED\tFAILED\tTIMED OUT\tREFUSED\tRESTARTS\n")
		notes := ""
		for _, h := range r.Handlers {
			types, processes := escapeName(strings.Join(h.Types, " ")), strconv.Itoa(h.Processes)
			if types == "" {
				types = "by route"
			}
			if !h.Native {
				processes = "classic"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", escapeName(h.Name), types,
				processes, h.Waiting, h.InFlight, h.Answered, h.Failed, h.Timeouts, h.Refused, h.Restarts)
			if h.Unmatched > 0 {
				notes += fmt.Sprintf("%s: answers dropped that belonged to no message in flight: %d\n", escapeName(h.Name), h.Unmatched)
			}
			if h.ExitReason != "" {
				notes += escapeName(h.Name) + " is not running: " + escapeText(h.ExitReason) + "\n"
			}
		}
		io.WriteString(w, notes)
	}
	if r.Refused > 0 {
		fmt.Fprintf(w, "\nhandler processes refused: %d; the hub's log says why\n", r.Refused)
	}
	if len(r.Devices) > 0 {
		fmt.Fprintf(w, "\nDEVICE\tKIND\tREADS\tFAILURES\tSKIPPED\tSENT\tREFUSED\tLOST\tSTATE\n")
		failures := ""
		for _, v := range r.Devices {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", escapeName(v.Name), escapeName(v.Kind), v.Reads, v.Failures, v.Skipped, v.Sent, v.Refused, v.Lost, escapeName(v.State))
			if v.Error != "" {
				failures += escapeName(v.Name) + ": " + escapeText(v.Error) + "\n"
			}
		}
		io.WriteString(w, failures)
	}
	return w.Flush()
}

// memoryLimit says how much memory the hub may use, and who says so.
func memoryLimit(bytes uint64, from string) string {
	if bytes == 0 {
		return "memory unknown"
	}
	return fmt.Sprintf("%s of memory (%s)", resource.Size(bytes), escapeText(from))
}

// nameList lists names, or says that there are none.
func nameList(names []string) string {
	if len(names) == 0 {
		return "-"
	}
	return escapeName(strings.Join(names, " "))
}

// userList lists each name once, with the number of its sessions where there are more, and
// whether all of them only send.
func userList(names []string, receivers []receiverReport) string {
	sendOnly := make(map[string]bool)
	for _, v := range receivers {
		sendOnly[v.User] = v.SendOnly > 0 && v.SendOnly == v.Sessions
	}
	var out []string
	for i := 0; i < len(names); {
		n := 1
		for i+n < len(names) && names[i+n] == names[i] {
			n++
		}
		s := escapeName(names[i])
		if n > 1 {
			s = fmt.Sprintf("%s (%d)", s, n)
		}
		if sendOnly[names[i]] {
			s += " (only sends)"
		}
		out = append(out, s)
		i += n
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, " ")
}

// A counter is a counter of the report, with its name in the singular and the plural.
type counter struct{ key, singular, plural string }

var (
	messageCounts = []counter{
		{"taken", "taken", "taken"}, {"succeeded", "succeeded", "succeeded"}, {"dropped", "dropped", "dropped"},
		{"absent", "for nobody there", "for nobody there"}, {"in_flight", "in flight", "in flight"},
		{"refused", "refused", "refused"}, {"failed", "failed", "failed"},
	}
	deliveryCounts = []counter{
		{"handed", "in all", "in all"}, {"delivered", "delivered", "delivered"}, {"unconfirmed", "not confirmed", "not confirmed"}, {"queued", "queued", "queued"}, {"lost", "lost", "lost"},
	}
	sessionCounts = []counter{
		{"sessions", "open", "open"}, {"logins", "login", "logins"}, {"denied", "login denied", "logins denied"},
		{"subscriptions", "subscription", "subscriptions"}, {"subscriptions_refused", "subscription refused", "subscriptions refused"},
		{"sends_denied", "message not allowed", "messages not allowed"}, {"origins_denied", "origin not allowed", "origins not allowed"},
		{"sends_slowed", "message slowed down", "messages slowed down"},
		{"malformed", "malformed frame", "malformed frames"}, {"frames_too_long", "frame too long", "frames too long"},
		{"logins_too_slow", "login too slow", "logins too slow"}, {"too_many", "connection too many", "connections too many"},
		{"no_descriptors", "connection without a descriptor", "connections without a descriptor"},
		{"too_many_of_account", "session too many of its account", "sessions too many of their accounts"},
		{"slow_readers_closed", "slow reader closed", "slow readers closed"}, {"dropped", "delivery dropped", "deliveries dropped"},
		{"logins_held_off", "login held off", "logins held off"}, {"logins_evicted", "silent connection closed for others", "silent connections closed for others"}, {"stopped_in_a_frame", "stopped in a frame", "stopped in a frame"},
		{"frames_no_memory", "long frame refused for memory", "long frames refused for memory"},
		{"memory_refused", "time short of memory", "times short of memory"},
	}
	logCounts    = []counter{{"lost", "line", "lines"}}
	serverCounts = []counter{{"sent", "sent", "sent"}, {"unconfirmed", "not confirmed", "not confirmed"}, {"waiting", "waiting", "waiting"}, {"failed", "failed", "failed"}, {"panics", "bug of the hub", "bugs of the hub"}}
)

// allCounters writes the counters that are not zero, in alphabetical order.
func allCounters(of map[string]uint64) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(of)) {
		if of[key] > 0 {
			out = append(out, fmt.Sprintf("%s %d", escapeName(key), of[key]))
		}
	}
	if len(out) == 0 {
		return "-"
	}
	return strings.Join(out, ", ")
}

// counterList writes the first counter, and those of the others that are not zero.
func counterList(of map[string]uint64, all []counter) string {
	var out []string
	for i, c := range all {
		switch v := of[c.key]; {
		case v == 1:
			out = append(out, "1 "+c.singular)
		case v > 0 || i == 0:
			out = append(out, fmt.Sprintf("%d %s", v, c.plural))
		}
	}
	return strings.Join(out, ", ")
}
