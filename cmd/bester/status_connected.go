package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A connectedReport is a session that is open.
type connectedReport struct {
	User, Role, From string
	Since            time.Time
	SendOnly         bool `json:"send_only"`
	Subscriptions    []string
	Delivered, Lost  uint64
}

// withoutSelf leaves out the session that asks: the last one of the user, which only sends.
func withoutSelf(all []connectedReport, self string) []connectedReport {
	for i, v := range slices.Backward(all) {
		if v.User == self && v.SendOnly {
			return slices.Delete(all, i, i+1)
		}
	}
	return all
}

// maxConnected is how many sessions are shown; --json has all.
const maxConnected = 20

// writeConnected writes a table of the sessions of clients and servers.
func writeConnected(w io.Writer, all []connectedReport) {
	all = slices.DeleteFunc(all, func(v connectedReport) bool { return v.Role == "handler" }) // they have a table of their own
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(w, "\nCONNECTED\tFROM\tFOR\tSUBSCRIBED TO\tDELIVERED\tLOST\n")
	for _, v := range all[:min(len(all), maxConnected)] {
		subscribed := escapeName(cmp.Or(strings.Join(v.Subscriptions, " "), "-"))
		switch {
		case v.Role == "server":
			subscribed = "a server"
		case v.SendOnly:
			subscribed = "only sends"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\n", escapeName(cmp.Or(v.User, "-")), escapeName(v.From), time.Since(v.Since).Round(time.Second), subscribed, v.Delivered, v.Lost)
	}
	if n := len(all) - maxConnected; n > 0 {
		fmt.Fprintf(w, "and %d more, see --json\n", n)
	}
}
