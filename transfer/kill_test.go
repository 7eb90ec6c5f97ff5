package transfer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// kills is how often each side dies at a random byte.
const kills = 25

// victim, in the environment, makes the test binary one side of a transfer, to be killed.
const victim = "TRANSFER_VICTIM"

func TestMain(m *testing.M) {
	if role := os.Getenv(victim); role != "" {
		if err := beVictim(role, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// beVictim sends, or receives, over a connection to addr. What it remembers is in files.
func beVictim(role string, args []string) error {
	addr, journal, path := args[0], args[1], args[2]
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	s := tcpStream{c.(*net.TCPConn)}
	j, err := OpenJournal(journal, [32]byte{1})
	if err != nil {
		return err
	}
	if role == "send" {
		src, err := NewSource(path)
		if err != nil {
			return err
		}
		_, err = Send(context.Background(), s, src, SendOptions{ID: testID, Journal: j})
		return err
	}
	dir, err := OpenDir(path)
	if err != nil {
		return err
	}
	in, err := ReadOffer(context.Background(), s, ReceiveOptions{})
	if err != nil {
		return err
	}
	_, err = in.Accept(context.Background(), dir, AcceptOptions{Journal: j, NoSync: true})
	return err
}

// lethal kills the other side's process when so many bytes have gone through the stream.
type lethal struct {
	Stream
	kill func()

	mu   sync.Mutex // reads and writes go on side by side
	left int
}

func (s *lethal) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	s.spend(n)
	return n, err
}

func (s *lethal) Write(p []byte) (int, error) {
	s.mu.Lock()
	left := s.left
	s.mu.Unlock()
	n, err := s.Stream.Write(p[:min(len(p), max(left, 1))])
	if s.spend(n); n < len(p) && err == nil {
		m, err := s.Stream.Write(p[n:])
		return n + m, err
	}
	return n, err
}

func (s *lethal) spend(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left > 0 && s.left <= n {
		s.kill()
	}
	s.left -= n
}

// TestKilledReceiver and the one below: SIGKILL at a random byte, again and again, until the transfer is through. What has been
// verified does not come again, and the end is equal.
func TestKilledReceiver(t *testing.T) { killed(t, "receive") }

func TestKilledSender(t *testing.T) { killed(t, "send") }

func killed(t *testing.T, role string) {
	self, err := os.Executable()
	if err != nil {
		t.Skip("SKIPPED: the test binary cannot run itself: ", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// A folder: large, small and empty files, so that a death hits every step.
	root := filepath.Join(t.TempDir(), "d")
	if err := os.MkdirAll(filepath.Join(root, "many"), 0o755); err != nil {
		t.Fatal(err)
	}
	size := kills * ChunkLen / 2
	if role == "send" {
		size = 3 * kills * ChunkLen // what a dead sender had written still comes
	}
	files := map[string][]byte{"large": content(size), "none": nil}
	for i := range 100 {
		files[fmt.Sprintf("many/%d", i)] = content(i * 100)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(root, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	inbox, state := filepath.Join(t.TempDir(), "inbox"), t.TempDir()
	random := rand.New(rand.NewPCG(1, uint64(len(role))))
	var died atomic.Int64
	runs := 0
	for ; ; runs++ {
		if runs > 4*kills {
			t.Fatalf("not through after %d runs", runs)
		}
		path := inbox
		if role == "send" {
			path = root
		}
		cmd := exec.Command(self, l.Addr().String(), filepath.Join(state, role), path)
		cmd.Env = append(os.Environ(), victim+"="+role)
		cmd.Stderr = io.Discard
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		limit := random.IntN(ChunkLen) + 1
		if died.Load() == kills {
			limit = 1 << 40
		}
		s := &lethal{Stream: tcpStream{c.(*net.TCPConn)}, left: limit, kill: func() { died.Add(1); _ = cmd.Process.Kill() }}
		err = survivor(t, role, s, root, inbox, filepath.Join(state, "survivor"))
		c.Close()
		if waited := cmd.Wait(); err == nil && waited == nil {
			break
		}
	}
	deaths := int(died.Load())
	if deaths < kills {
		t.Errorf("only %d deaths", deaths)
	}
	for name, data := range files {
		got, err := os.ReadFile(filepath.Join(inbox, "d", name))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes arrived of %d, %v", name, len(got), len(data), err)
		}
	}
	j := openJournal(t, filepath.Join(state, map[string]string{"send": "survivor", "receive": "receive"}[role]))
	again := j.Again()
	t.Logf("%d deaths in %d runs, %d bytes came twice: %d a death", deaths, runs+1, again, again/int64(deaths))
	if again > int64(deaths)*ChunkLen {
		t.Errorf("%d bytes came twice in %d deaths: more than a chunk each", again, deaths)
	}
	if entries, err := os.ReadDir(inbox); err != nil || len(entries) != 1 {
		t.Errorf("left in the inbox: %v, %v", entries, err)
	}
}

// survivor is the side that lives.
func survivor(t *testing.T, role string, s Stream, root, inbox, journal string) error {
	t.Helper()
	j, err := OpenJournal(journal, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if role == "receive" {
		src := sourceOf(t, root)
		_, err := Send(t.Context(), s, src, SendOptions{ID: testID, Journal: j})
		return err
	}
	dir, err := OpenDir(inbox)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	in, err := ReadOffer(t.Context(), s, ReceiveOptions{})
	if err != nil {
		return err
	}
	_, err = in.Accept(t.Context(), dir, AcceptOptions{Journal: j, NoSync: true})
	return err
}
