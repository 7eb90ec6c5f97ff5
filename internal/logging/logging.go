// Package logging makes the programs' logger from the log section of the configuration.
package logging

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// New makes a logger. Level is debug, info, warn or error; format is text, json, or auto: text on a terminal, JSON elsewhere.
// Anything else means info and auto: package config has checked both.
func New(w io.Writer, level, format string) *slog.Logger {
	var opt slog.HandlerOptions
	var l slog.Level
	if l.UnmarshalText([]byte(level)) == nil {
		opt.Level = l
	}
	f, isFile := w.(*os.File)
	if format == "text" || format != "json" && isFile && term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(w, &opt))
	}
	return slog.New(slog.NewJSONHandler(w, &opt))
}
