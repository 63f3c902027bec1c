package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/besterhub/bester/hub/resource"
	"github.com/besterhub/bester/hub/spool"
)

// A size is a number of bytes as a flag: "4096", "256 KiB" or "1 MiB", as in a
// bester.toml, or with a unit of ten; in small letters or large.
type size uint64

func (s *size) Set(text string) error {
	number, unit := text, 1.0
	for _, u := range []struct {
		name string
		size float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}} {
		if start := len(text) - len(u.name); start > 0 && strings.EqualFold(text[start:], u.name) {
			number, unit = strings.TrimSuffix(text[:start], " "), u.size
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Trim(number, "0123456789.") != "" || n*unit < 1 || n*unit > 1e15 {
		return fmt.Errorf(`want a size such as 4096, "5 MiB" or "256 KiB"`)
	}
	*s = size(math.Round(n * unit))
	return nil
}

func (s *size) String() string {
	if *s == 0 {
		return ""
	}
	return resource.Size(uint64(*s))
}

func (*size) Type() string { return "size" }

// wearText says how much was written to the card, and the write amplification.
func wearText(rep spool.Report, budget size) string {
	w := rep.Wear
	switch {
	case w.Since == 0 && rep.Next > 1:
		return "not known: no file that tells is left"
	case w.Since == 0:
		return "nothing was written yet"
	}
	text := fmt.Sprintf("%s written for %s of data", resource.Size(w.Written), resource.Size(w.Payload))
	if a := w.Amplification(); w.Payload > 0 {
		digits := 2
		if a >= 100 {
			digits = 0
		}
		text += fmt.Sprintf(" (%.*f times as much)", digits, a)
	}
	since, until := spoolTime(w.Since), spoolTime(w.Until)
	text += fmt.Sprintf(" since %s; %s a day", since.UTC().Format(time.RFC3339), resource.Size(w.Average()))
	if until.Sub(since) > 24*time.Hour {
		text += fmt.Sprintf(", %s in the last 24 hours", resource.Size(w.Day))
	}
	if budget > 0 {
		text += fmt.Sprintf(", %s of the budget of %s a day", percent(w.Day, budget), resource.Size(uint64(budget)))
	}
	return text
}

// percent rounds up, so that only what is within the budget shows as 100 % or less.
func percent(n uint64, of size) string {
	return fmt.Sprintf("%.0f %%", math.Ceil(float64(n)*100/float64(of)))
}

// showBudget says so if more than the budget was written to the card in 24 hours.
func showBudget(out io.Writer, w spool.Wear, budget size) error {
	if budget == 0 || w.Day <= uint64(budget) {
		return nil
	}
	_, err := fmt.Fprintf(out, "Over the budget: %s were written to the card in 24 hours, %s are allowed. Larger batches,\nthe class Telemetry, or a larger FlushEvery or CommitEvery write less.\n",
		resource.Size(w.Day), resource.Size(uint64(budget)))
	return err
}

type wearObject struct {
	Since    string `json:"since"`
	Until    string `json:"until"`
	Written  uint64 `json:"written"`
	Accepted uint64 `json:"accepted"`
	Average  uint64 `json:"average"`
	Day      uint64 `json:"day"`
	Budget   size   `json:"budget"`
}

func newWearObject(w spool.Wear, budget size) *wearObject {
	if w.Since == 0 {
		return nil
	}
	return &wearObject{recordTime(w.Since), recordTime(w.Until), w.Written, w.Payload, w.Average(), w.Day, budget}
}
