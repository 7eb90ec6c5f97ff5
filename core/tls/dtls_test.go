package tls

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"traverse.internal/core/reason"
	"traverse.internal/identity"
	"traverse.internal/internal/lossy"
)

// A datagramPair is two devices linked over datagrams.
type datagramPair struct {
	client, server             *DatagramLink
	clientDevice, serverDevice *identity.Device
	clientErr, serverErr       error
}

// linkDatagrams links two devices; change may tamper with what they expect of each other.
func linkDatagrams(t testing.TB, line lossy.Config, change func(p *expectations)) *datagramPair {
	t.Helper()
	x, y := lossy.Pair(line)
	p := &datagramPair{clientDevice: newDevice(t), serverDevice: newDevice(t)}
	ctx := testContext(t)
	certs := [2]*OneTime{}
	for i := range certs {
		var err error
		if certs[i], err = NewOneTime(); err != nil {
			t.Fatal(err)
		}
	}
	e := &expectations{
		clientPrint: certs[0].Fingerprint(), serverPrint: certs[1].Fingerprint(),
		client: p.clientDevice.ID(), server: p.serverDevice.ID(),
	}
	if change != nil {
		change(e)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		p.client, p.clientErr = AsDatagramClient(ctx, x, certs[0], e.serverPrint, p.clientDevice, e.server)
	})
	wg.Go(func() {
		p.server, p.serverErr = AsDatagramServer(ctx, y, certs[1], e.clientPrint, p.serverDevice, e.client)
	})
	wg.Wait()
	t.Cleanup(func() {
		for _, l := range []*DatagramLink{p.client, p.server} {
			if l != nil {
				l.Close()
			}
		}
	})
	return p
}

type expectations struct {
	clientPrint, serverPrint []byte
	client, server           identity.DeviceID
}

func TestDatagramsBetweenDevices(t *testing.T) {
	for _, c := range []struct {
		name string
		line lossy.Config
	}{
		{"nothing lost", lossy.Config{}},
		{"20 ms, one in five lost", lossy.Config{Delay: 10 * time.Millisecond, Loss: 0.2, Seed: 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			p := linkDatagrams(t, c.line, nil)
			if err := errors.Join(p.clientErr, p.serverErr); err != nil {
				t.Fatal(err)
			}
			t.Logf("linked in %v", time.Since(began))
			a, errA := p.client.Exporter("x")
			b, errB := p.server.Exporter("x")
			if errA != nil || errB != nil || !bytes.Equal(a, b) || len(a) != 32 {
				t.Errorf("exported %x (%v) and %x (%v), want the same 32 bytes", a, errA, b, errB)
			}
			data := bytes.Repeat([]byte("traverse"), 1<<16)
			var wg sync.WaitGroup
			for _, ends := range [][2]*DatagramLink{{p.client, p.server}, {p.server, p.client}} {
				wg.Go(func() {
					if _, err := ends[0].Write(data); err != nil {
						t.Error(err)
					}
					ends[0].CloseWrite()
				})
				wg.Go(func() {
					got, err := io.ReadAll(ends[1])
					if err != nil || !bytes.Equal(got, data) {
						t.Errorf("read %d bytes, %v; want the %d that were written", len(got), err, len(data))
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestDatagramsRefuse(t *testing.T) {
	other := newDevice(t)
	wrong := bytes.Repeat([]byte{7}, 32)
	for _, c := range []struct {
		name   string
		change func(*expectations)
		client bool // who finds it
	}{
		{"another certificate of the server", func(e *expectations) { e.serverPrint = wrong }, true},
		{"another certificate of the client", func(e *expectations) { e.clientPrint = wrong }, false},
		{"another device at the server", func(e *expectations) { e.server = other.ID() }, true},
		{"another device at the client", func(e *expectations) { e.client = other.ID() }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := linkDatagrams(t, lossy.Config{}, c.change)
			finder, found := p.serverErr, p.clientErr
			if c.client {
				finder, found = found, finder
			}
			if reason.Of(finder) != reason.AuthWrongKey {
				t.Errorf("who expected another says %v, want AUTH_WRONG_KEY", finder)
			}
			if found == nil {
				t.Error("the other side is content")
			}
			t.Logf("%v / %v", finder, found)
		})
	}
}

func TestDatagramsGiveUp(t *testing.T) {
	x, _ := lossy.Pair(lossy.Config{})
	own, err := NewOneTime()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = AsDatagramClient(ctx, x, own, own.Fingerprint(), newDevice(t), newDevice(t).ID())
	var h *HandshakeError
	if !errors.As(err, &h) || h.Fault != FaultTimeout {
		t.Errorf("against silence: %v, want a timeout", err)
	}
}
