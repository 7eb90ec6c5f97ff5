package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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
	rounds      int
	load        time.Duration
	limit       time.Duration
	only        *regexp.Regexp // names
	groups      []string       // empty: all
	quick, gate bool
	json        bool
	turnd, node string
	coturn      string // another build
	out, doc    string
	file        int64
	talk        io.Writer // progress
	pool        *pool
}

// selects says whether a bench is to run.
func (set settings) selects(b bench) bool {
	return set.only.MatchString(b.name) && (len(set.groups) == 0 || slices.Contains(set.groups, b.group)) && (b.quick || !set.quick)
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
	clean, err := build(ctx, &set)
	defer clean()
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	_, lab := os.LookupEnv(insideEnv)
	if lab {
		err = command("ip", "link", "set", "lo", "up")
	} else {
		code, entered, why := enter(args, set.turnd+"\n"+set.node)
		if entered {
			return code
		}
		fmt.Fprintf(stderr, "bench: %s\n", why)
	}
	if err == nil {
		set.pool, err = newPool(set.turnd, set.coturn, lab)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	defer set.pool.close()
	began := time.Now()
	rows, err := runAll(ctx, all(), set)
	if err == nil && set.gate {
		rows, err = lookAgain(ctx, all(), set, rows)
	}
	if err == nil {
		err = tell(stdout, set, rows, time.Since(began))
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	if set.gate {
		return gate(stdout, rows)
	}
	return 0
}

// all is the list of benches, in the order in which they run.
func all() []bench {
	return slices.Concat(channelDataBenches(), tcBenches(), tcpBenches(), serverBenches(), muxBenches(), fileBenches())
}

// build makes the programs that are measured, where no paths are given. The bench inside its own network got them, since
// nothing can be downloaded there.
func build(ctx context.Context, set *settings) (clean func(), err error) {
	clean = func() {}
	if list, ok := os.LookupEnv(insideEnv); ok {
		turnd, node, _ := strings.Cut(list, "\n")
		set.turnd, set.node = turnd, node
		return clean, nil
	}
	if set.turnd != "" && set.node != "" || len(set.groups) == 1 && set.groups[0] == "mux" {
		return clean, nil
	}
	dir, err := os.MkdirTemp("", "traverse-bench-bin-")
	if err != nil {
		return clean, err
	}
	clean = func() { os.RemoveAll(dir) }
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", dir+"/", "traverse.internal/cmd/turnd", "traverse.internal/cmd/node").CombinedOutput(); err != nil {
		return clean, fmt.Errorf("building turnd and node: %w\n%s", err, out)
	}
	if set.turnd == "" {
		set.turnd = filepath.Join(dir, "turnd")
	}
	if set.node == "" {
		set.node = filepath.Join(dir, "node")
	}
	return clean, nil
}

func parseFlags(args []string, stderr io.Writer) (settings, error) {
	set := settings{talk: stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&set.rounds, "rounds", 3, "rounds; each variant counts with its best one")
	flags.DurationVar(&set.load, "load", 500*time.Millisecond, "how long each variant is loaded in a round")
	flags.DurationVar(&set.limit, "limit", 15*time.Minute, "what has not begun by then is not measured")
	flags.BoolVar(&set.json, "json", false, "print one JSON object")
	flags.BoolVar(&set.quick, "quick", false, "a part of the rows, with less load: two minutes")
	flags.BoolVar(&set.gate, "gate", false, "fail when a ratio is below its floor")
	flags.StringVar(&set.turnd, "turnd", "", "turnd to measure (default: build ./cmd/turnd)")
	flags.StringVar(&set.node, "node", "", "node to measure (default: build ./cmd/node)")
	flags.StringVar(&set.coturn, "coturn", os.Getenv("BENCH_COTURN"), "another build of coturn's turnserver, measured besides the installed one")
	flags.StringVar(&set.out, "out", "", "folder for report.json and an SVG of each group")
	flags.StringVar(&set.doc, "doc", "", "file whose table, between its markers, is replaced by this run's")
	flags.Int64Var(&set.file, "file", 512<<20, "bytes of the file that is copied")
	pattern := flags.String("run", "", "run only the rows whose name matches this regular expression")
	only := flags.String("only", "", "run only these groups: "+strings.Join(groups(), ", "))
	if err := flags.Parse(args); err != nil {
		return set, err
	}
	if set.quick {
		given := map[string]bool{}
		flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
		if !given["load"] {
			set.load = 150 * time.Millisecond
		}
		if !given["limit"] {
			set.limit = 105 * time.Second
			if set.gate { // which has to see every row, on a busy machine, too
				set.limit = 4 * time.Minute
			}
		}
		if !given["file"] {
			set.file = 128 << 20
		}
	}
	if *only != "" {
		set.groups = strings.Split(*only, ",")
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
	for _, g := range set.groups {
		if !slices.Contains(groups(), g) {
			err = fmt.Errorf("-only: there is no group %q; there are %s", g, strings.Join(groups(), ", "))
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
	}
	return set, err
}

// groups are the names of the groups, in their order.
func groups() []string {
	var list []string
	for _, b := range all() {
		if !slices.Contains(list, b.group) {
			list = append(list, b.group)
		}
	}
	return list
}
