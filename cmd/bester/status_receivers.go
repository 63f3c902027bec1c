package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A messageReport is the part of the hub's report about messages and their deliveries.
type messageReport struct {
	counts           map[string]uint64
	Failures, Losses map[string]uint64
}

// UnmarshalJSON reads the counters by their names, so that those of a later version do not
// disturb.
func (m *messageReport) UnmarshalJSON(b []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	m.counts = make(map[string]uint64)
	for key, value := range all {
		var n uint64
		if json.Unmarshal(value, &n) == nil {
			m.counts[key] = n
		}
	}
	for key, to := range map[string]*map[string]uint64{"failures": &m.Failures, "losses": &m.Losses} {
		if value, ok := all[key]; ok {
			if err := json.Unmarshal(value, to); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return nil
}

// A receiverReport is what became of the deliveries to one user.
type receiverReport struct {
	User                    string
	Sessions                int
	SendOnly                int `json:"send_only"`
	Delivered, Queued, Lost uint64
	Losses                  map[string]uint64
}

// maxReceivers is how many receivers are shown; --json has all.
const maxReceivers = 20

// writeReceivers writes a table of the users to whom deliveries were lost or are queued.
func writeReceivers(w io.Writer, all []receiverReport) {
	all = slices.DeleteFunc(slices.Clone(all), func(v receiverReport) bool { return v.Lost+v.Queued == 0 })
	if len(all) == 0 {
		return
	}
	slices.SortStableFunc(all, func(a, b receiverReport) int {
		return cmp.Or(cmp.Compare(b.Lost, a.Lost), cmp.Compare(b.Queued, a.Queued))
	})
	fmt.Fprintf(w, "\nRECEIVER\tDELIVERED\tQUEUED\tLOST\tWHY\n")
	for _, v := range all[:min(len(all), maxReceivers)] {
		name := "those who left long ago"
		if v.User != "" {
			name = escapeName(v.User)
		}
		why := strings.TrimSuffix(strings.TrimPrefix(reasonList(v.Losses), " ("), ")")
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\n", name, v.Delivered, v.Queued, v.Lost, cmp.Or(why, "-"))
	}
	if n := len(all) - maxReceivers; n > 0 {
		fmt.Fprintf(w, "and %d more, see --json\n", n)
	}
}

// reasonList lists reasons with their numbers in brackets, the most frequent first.
func reasonList(reasons map[string]uint64) string {
	var parts []string
	for _, key := range sortedReasons(reasons) {
		parts = append(parts, fmt.Sprintf("%s %d", escapeName(strings.ReplaceAll(key, "_", " ")), reasons[key]))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func sortedReasons(reasons map[string]uint64) []string {
	var keys []string
	for key, n := range reasons {
		if n > 0 {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(reasons[b], reasons[a]), cmp.Compare(a, b))
	})
	return keys
}
