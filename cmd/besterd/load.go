package main

import (
	"io"
	"log/slog"

	"github.com/besterhub/bester/cmd/internal/setup"
	"github.com/besterhub/bester/hub/config"
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

// newLog returns the operator's log: one line for each event, key=value or JSON.
func newLog(w io.Writer, c config.Log) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
