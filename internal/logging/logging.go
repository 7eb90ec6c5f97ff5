// Package logging makes the programs' logger from the log section of the configuration.
package logging

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync/atomic"

	"golang.org/x/term"
)

// New makes a logger. Level is debug, info, warn or error; format is text, json, or auto: text on a terminal, JSON elsewhere.
// Anything else means info and auto: package config has checked both.
func New(w io.Writer, level, format string) *slog.Logger {
	log, _ := NewSwitched(w, level, format)
	return log
}

// Switch changes the level and the format of a logger, and of all that were made from it, while they are in use.
type Switch struct {
	level    slog.LevelVar
	text     atomic.Bool
	terminal bool
}

// NewSwitched makes a logger as New does, and its switch.
func NewSwitched(w io.Writer, level, format string) (*slog.Logger, *Switch) {
	s := new(Switch)
	f, isFile := w.(*os.File)
	s.terminal = isFile && term.IsTerminal(int(f.Fd()))
	s.Set(level, format)
	opt := slog.HandlerOptions{Level: &s.level}
	return slog.New(handler{s, slog.NewTextHandler(w, &opt), slog.NewJSONHandler(w, &opt)}), s
}

// Set is safe for concurrent use.
func (s *Switch) Set(level, format string) {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // info is what is left
	s.level.Set(l)
	s.text.Store(format == "text" || format != "json" && s.terminal)
}

// handler writes in one of two formats. What a logger is given on its way is given to both.
type handler struct {
	*Switch
	asText, asJSON slog.Handler
}

func (h handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if h.text.Load() {
		return h.asText.Handle(ctx, r)
	}
	return h.asJSON.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Switch, h.asText.WithAttrs(attrs), h.asJSON.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Switch, h.asText.WithGroup(name), h.asJSON.WithGroup(name)}
}
