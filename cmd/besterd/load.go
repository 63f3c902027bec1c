package main

import (
	"io"
	"log/slog"

	"github.com/besterhub/bester/cmd/internal/setup"
	"github.com/besterhub/bester/hub/asynclog"
	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/errtext"
)

// load reads a config. Without a path it is the defaults.
func load(path string) (*config.Config, error) {
	if path == "" {
		return config.Default(), nil
	}
	return setup.Load(path)
}

func configName(path string) string {
	if path == "" {
		return "none, defaults"
	}
	return path
}

// plainError puts an error in the log into plain words.
func plainError(_ []string, a slog.Attr) slog.Attr {
	if err, ok := a.Value.Any().(error); ok && err != nil {
		a.Value = slog.StringValue(errtext.Of(err))
	}
	return a
}

// newLog returns the operator's log: one line for each event, key=value or JSON. What it
// loses because w is not read, it reports in the same form.
func newLog(w *asynclog.Writer, c config.Log) *slog.Logger {
	handler := func(w io.Writer, level slog.Leveler) slog.Handler {
		o := &slog.HandlerOptions{Level: level, ReplaceAttr: plainError}
		if c.Format == "json" {
			return slog.NewJSONHandler(w, o)
		}
		return slog.NewTextHandler(w, o)
	}
	w.SetReport(func(w io.Writer, lines uint64, reason error) {
		slog.New(handler(w, nil)).Warn("log lines were lost", "lines", lines, "reason", errtext.Of(reason))
	})
	return slog.New(handler(w, c.Level))
}
