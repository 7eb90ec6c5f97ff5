package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// settings are the flags.
type settings struct {
	rounds int
	load   time.Duration
	only   *regexp.Regexp
	json   bool
	turnd  string
	file   int64
	talk   io.Writer // progress
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == roleArg {
		return runRole(ctx, args[1:], stdout, stderr)
	}
	set, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	rows, err := runAll(ctx, all(), set)
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	if set.json {
		err = printJSON(stdout, set, rows)
	} else {
		err = printTable(stdout, set, rows)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	return 0
}

func parseFlags(args []string, stderr io.Writer) (settings, error) {
	set := settings{talk: stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&set.rounds, "rounds", 3, "rounds; each variant counts with its best one")
	flags.DurationVar(&set.load, "load", 1500*time.Millisecond, "how long each variant is loaded in a round")
	flags.BoolVar(&set.json, "json", false, "print one JSON object")
	flags.StringVar(&set.turnd, "turnd", "", "turnd to measure (default: build ./cmd/turnd)")
	flags.Int64Var(&set.file, "file", 512<<20, "bytes of the file that is copied")
	pattern := flags.String("run", "", "run only the rows whose name matches this regular expression")
	if err := flags.Parse(args); err != nil {
		return set, err
	}
	var err error
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case set.rounds < 1:
		err = errors.New("-rounds must be at least 1")
	case set.load <= 0 || set.load > time.Minute:
		err = errors.New("-load must be between 0 and 1m")
	case set.file < 1<<20 || set.file > 4<<30:
		err = errors.New("-file must be between 1 MiB and 4 GiB")
	default:
		set.only, err = regexp.Compile(*pattern)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
	}
	return set, err
}
