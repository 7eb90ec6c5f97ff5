package turn

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
)

// holdEnv has TestHoldServer be a server, of so many shards.
const holdEnv = "TRAVERSE_TEST_HOLD"

// holdCounts are of the server's process.
type holdCounts struct {
	Sleeps int64 // of all its threads: waits for datagrams, and for each other (futex)
	IO     udp.Counts
}

// TestHoldServer serves in a process of its own, and says what it counts whenever it is asked.
func TestHoldServer(t *testing.T) {
	shards := os.Getenv(holdEnv)
	if shards == "" {
		t.Skip("this is the other end of TestHoldSleepsOnce")
	}
	s := startServer(t, func(c *Config) { _, _ = fmt.Sscan(shards, &c.Shards) })
	fmt.Println(s.UDPAddrs()[0])
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var use unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(holdCounts{use.Nvcsw, s.Stats().Datagrams})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("%s\n", b)
	}
}

// TestHoldSleepsOnce: a shard that may keep its processor (Poller.Hold) while a packet comes each 50 µs goes to sleep once for each, and
// nobody else does. Without, the scheduler takes its processor in those 50 µs: threads wake each other for every packet.
func TestHoldSleepsOnce(t *testing.T) {
	const n, every = 4000, 50 * time.Microsecond
	var waits, held, extra [3]float64 // a packet, by shards
	for shards := 1; shards <= 2; shards++ {
		t.Run(fmt.Sprintf("%d of 2 processors for shards", shards), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHoldServer$")
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", holdEnv, shards), "GOMAXPROCS=2")
			ask, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				ask.Close()
				_ = cmd.Wait()
			}()
			answers := bufio.NewScanner(out)
			line := func() []byte {
				if !answers.Scan() {
					t.Fatalf("the server is gone: %v", answers.Err())
				}
				return answers.Bytes()
			}
			counts := func() (c holdCounts) {
				fmt.Fprintln(ask)
				if err := json.Unmarshal(line(), &c); err != nil {
					t.Fatal(err)
				}
				return c
			}
			client, peer := dialTest(t, "udp", netip.MustParseAddrPort(string(line()))), newPeer(t, loop4)
			client.allocate()
			if code := client.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); code != 0 {
				t.Fatal(code)
			}
			message := channelData(0x4000, make([]byte, 100))
			before := counts()
			for range n {
				due := time.Now().Add(every)
				client.send(message)
				peer.receive()
				for time.Now().Before(due) { // a pace, of no timer's making
				}
			}
			after := counts()
			io, was := after.IO, before.IO
			waits[shards] = float64(io.Waits-io.Vain-was.Waits+was.Vain) / n
			held[shards] = float64(io.Holds-was.Holds) / n
			extra[shards] = float64(after.Sleeps-before.Sleeps)/n - float64(io.Waits-was.Waits)/n
			t.Logf("a packet: %.2f waits (%.2f with the processor kept), %.2f sleeps beside them", waits[shards], held[shards], extra[shards])
		})
	}
	// A machine that has no time for this test for holdMillis makes waits without.
	if waits[1] > 1.2 || held[1] < 0.5 || extra[1] > 0.2+max(0, 1-held[1]) {
		t.Errorf("%.2f waits a packet, %.2f with the processor kept, and %.2f more sleeps", waits[1], held[1], extra[1])
	}
	if held[2] != 0 {
		t.Errorf("%.2f waits a packet kept a processor that everybody else needs", held[2])
	}
}
