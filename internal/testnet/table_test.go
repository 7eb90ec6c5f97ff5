package testnet

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// outcome is what a connection comes to.
type outcome struct {
	kind      string // "direct", "relayed" or "none"
	transport string // "tcp" or "udp"
	reason    string
}

// pair is a cell of the table: two kinds of network, and what comes of it.
type pair struct {
	from, to Kind
	sameSite bool // both behind the same router
	outcome
}

func (p pair) names() (from, to string) {
	if p.sameSite {
		return "same LAN", "same LAN"
	}
	return string(p.from), string(p.to)
}

// kinds are those of the table, in its order.
var kinds = []Kind{Public, Open, Restricted, Symmetric, CarrierGrade, Mapping, NoUDP, Filtered, HTTPSOnly, IPv6Only}

// expected are the cells: a row for each kind, its pairs with itself and those after it.
var expected = map[Kind]string{
	Public:       "public public public public public public public udp blocked public",
	Open:         "punch punch punch punch mapped punch punch-udp blocked family",
	Restricted:   "punch one punch mapped punch punch-udp blocked family",
	Symmetric:    "both one mapped one filter blocked family",
	CarrierGrade: "punch mapped punch punch-udp blocked family",
	Mapping:      "mapped mapped filter blocked family",
	NoUDP:        "punch blocked blocked family",
	Filtered:     "punch-udp blocked family",
	HTTPSOnly:    "blocked family",
	IPv6Only:     "public",
}

// words are those of expected.
var words = map[string]outcome{
	"lan":       {"direct", "tcp", "DIRECT_LAN"},
	"public":    {"direct", "tcp", "DIRECT_PUBLIC"},
	"punch":     {"direct", "tcp", "PUNCHED_TCP"},
	"mapped":    {"direct", "tcp", "DIRECT_MAPPED"},
	"one":       {"relayed", "tcp", "RELAY_SYMMETRIC_ONE"},
	"both":      {"relayed", "tcp", "RELAY_SYMMETRIC_BOTH"},
	"filter":    {"relayed", "tcp", "RELAY_TCP_FILTERED"},
	"family":    {"relayed", "tcp", "RELAY_FAMILY_MISMATCH"},
	"udp":       {"direct", "udp", "DIRECT_PUBLIC"},
	"punch-udp": {"direct", "udp", "PUNCHED_UDP"},
	"blocked":   {"relayed", "tcp", "RELAY_UDP_BLOCKED"},
}

// allPairs are the cells of the table.
func allPairs(t *testing.T) []pair {
	t.Helper()
	all := []pair{{Restricted, Restricted, true, words["lan"]}}
	for i, from := range kinds {
		row := strings.Fields(expected[from])
		if len(row) != len(kinds)-i {
			t.Fatalf("the row of %s has %d words, want %d", from, len(row), len(kinds)-i)
		}
		for j, word := range row {
			want, ok := words[word]
			if !ok {
				t.Fatalf("the row of %s: %q is no word", from, word)
			}
			all = append(all, pair{from: from, to: kinds[i+j], outcome: want})
		}
	}
	return all
}

// page is what a run with -update writes.
const page = "../../docs/reach.md"

const head = `# Reach

Which way two devices find to each other, by what stands between each of them and the Internet, and why. A run of ` + "`make nat`" + ` made
this page, as root; ` + "`go test ./internal/testnet -run TestReach -update`" + ` writes it anew.

Every network is made of namespaces, cables and nftables' own NAT on one machine; every device is a process there, and so is the relay. The
offers are carried by the test, so the set-up time is that of gathering, negotiation, TLS and a message there and back, without finding the other
device. Cables have no delay: on the Internet some round trips come on top.

| network | what it is |
|---|---|
| same LAN | two devices behind the same router |
| public | an address of its own, IPv4 and IPv6, no filter |
| open | a NAT that lets anybody in who knows the mapped port: endpoint-independent mapping and filtering |
| restricted | a NAT that lets in from where something was sent to: endpoint-independent mapping, filtering by address and port |
| symmetric | a NAT that maps anew for each destination, at random |
| carrier | a restricted NAT at home behind the provider's |
| port mapping | a symmetric NAT whose router leads a port to whom asks for one, by PCP here; NAT-PMP and UPnP have a test of their own |
| no UDP | a restricted NAT that no UDP leaves |
| TCP filtered | a restricted NAT that UDP leaves, and of TCP only what goes to port 443 |
| 443 only | a restricted NAT that only TCP to port 443 leaves |
| IPv6 only | an IPv6 address of its own, and no IPv4 |

The networks with a NAT have IPv4 only.

`

// render is the page.
func render(t *testing.T, rows []string, when time.Time) string {
	return head + table(rows, when) + tailOf(t)
}

// table is the run, as the page and the README have it.
func table(rows []string, when time.Time) string {
	return fmt.Sprintf("Run of %s:\n\n", when.UTC().Format(time.DateOnly)) +
		"| from | to | path | transport | set-up | reason |\n|---|---|---|---|---|---|\n" + strings.Join(rows, "\n") + "\n"
}

// readme has the table between two marks, folded.
const (
	readme    = "../../README.md"
	tableFrom = "<!-- reach -->\n<details><summary>All pairs of networks, each with its path, set-up time and reason</summary>\n\n"
	tableTo   = "\n</details>\n<!-- /reach -->\n"
)

// cutReadme is what the README has before the table, the table, and what comes after it.
func cutReadme(t *testing.T) (before, within, after string) {
	t.Helper()
	raw, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), tableFrom)
	within, after, closed := strings.Cut(rest, tableTo)
	if !ok || !closed {
		t.Fatal("README.md has no place for the table")
	}
	return before, within, after
}

// movePage is what a run of `make show-move` printed.
const movePage = "testdata/move.md"

const moveHead = `
## A transfer that moves

`

// tailOf is the end of the page.
func tailOf(t *testing.T) string {
	t.Helper()
	said, err := os.ReadFile(movePage)
	if err != nil {
		t.Fatal(err)
	}
	return moveHead + "`make show-move`, as root, sends a file between two real nodes of two networks on the same Internet. What is between the two is blocked at first, so the\n" +
		"transfer starts over the relay; then it is not, and the transfer moves while it runs; then nftables drops every packet between them without a word, and it goes\n" +
		"on over the relay, whose link was kept. `make test` does the same with 32 MiB (TestShowMove). The limit of the transfer gives each part its seconds.\n\n" + string(said)
}

func (p pair) row(setup string) string {
	from, to := p.names()
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |", from, to, p.kind, p.transport, setup, p.reason)
}

// TestReachReadme holds that the README shows the run that the page has.
func TestReachReadme(t *testing.T) {
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, run, _ := strings.Cut(string(raw), head)
	run, _, ok := strings.Cut(run, moveHead)
	if !ok {
		t.Fatal("docs/reach.md has no table")
	}
	if _, within, _ := cutReadme(t); within != run {
		t.Errorf("README.md does not have the table of docs/reach.md; as root: go test ./internal/testnet -run TestReach -update\ngot:\n%s\nwant:\n%s", within, run)
	}
}

// TestReachPage holds the page against what the cells should be: whoever changes one makes a run.
func TestReachPage(t *testing.T) {
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, p := range allPairs(t) {
		rows = append(rows, p.row("*"))
	}
	said := regexp.MustCompile(`\| [0-9.]+m?s \|`).ReplaceAllString(string(got), "| * |")
	date := regexp.MustCompile(`Run of ([0-9-]+):`).FindStringSubmatch(said)
	if date == nil {
		t.Fatal("docs/reach.md does not say when its run was")
	}
	when, err := time.Parse(time.DateOnly, date[1])
	if err != nil {
		t.Fatal(err)
	}
	if said != render(t, rows, when) {
		t.Errorf("docs/reach.md is not what is expected; as root: go test ./internal/testnet -run TestReach -update\ngot:\n%s\nwant:\n%s", said, render(t, rows, when))
	}
}
