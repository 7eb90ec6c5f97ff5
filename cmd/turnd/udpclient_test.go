package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

// udpClient is a TURN client over UDP of the user u.
type udpClient struct {
	t     *testing.T
	conn  *net.UDPConn
	realm string
	nonce []byte
}

func dialUDP(t *testing.T, server netip.AddrPort) *udpClient {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &udpClient{t: t, conn: conn}
}

// ask sends a request, answers the challenge, and returns the error's code; 0 means success.
func (c *udpClient) ask(method stun.Method, add ...func(*stun.Builder)) stun.ErrorCode {
	c.t.Helper()
	for range 3 {
		b := stun.New(nil, method.Request(), stun.NewTransactionID())
		for _, a := range add {
			a(&b)
		}
		if c.nonce != nil {
			b.AddText(stun.AttrUsername, "u")
			b.AddText(stun.AttrRealm, c.realm)
			b.Add(stun.AttrNonce, c.nonce)
			b.AddIntegrity(stun.LongTermKey("u", c.realm, "p"))
		}
		c.send(b.Bytes())
		m, err := stun.Parse(c.receive())
		if err != nil {
			c.t.Fatal(err)
		}
		if m.Type().Class == stun.ClassSuccess {
			return 0
		}
		code, _, err := m.ErrorCode()
		if err != nil {
			c.t.Fatal(err)
		}
		signed := c.nonce != nil
		if nonce, err := m.Text(stun.AttrNonce); err == nil {
			realm, _ := m.Text(stun.AttrRealm)
			c.realm, c.nonce = string(realm), bytes.Clone(nonce)
		}
		if signed && code != stun.CodeStaleNonce {
			return code
		}
	}
	c.t.Fatal("challenged again and again")
	return 0
}

func (c *udpClient) allocate() {
	c.t.Helper()
	if code := c.ask(stun.MethodAllocate, func(b *stun.Builder) { b.AddRequestedTransport(stun.TransportUDP) }); code != 0 {
		c.t.Fatalf("allocate: %v", code)
	}
}

func (c *udpClient) bind(channel uint16, peer netip.AddrPort) stun.ErrorCode {
	c.t.Helper()
	return c.ask(stun.MethodChannelBind, func(b *stun.Builder) {
		b.AddChannelNumber(channel)
		b.AddXORAddr(stun.AttrXORPeerAddress, peer)
	})
}

func (c *udpClient) send(packet []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(packet); err != nil {
		c.t.Fatal(err)
	}
}

func (c *udpClient) receive() []byte {
	c.t.Helper()
	b := make([]byte, 2048)
	if err := c.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	n, err := c.conn.Read(b)
	if err != nil {
		c.t.Fatal(err)
	}
	return b[:n]
}

func listenPeer(t *testing.T, ip string) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(mustAddr(ip), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadBuffer(4 << 20)
	return conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// writeCertificate puts a certificate for 127.0.0.1 and its key into a folder, and returns the certificate's path.
func writeCertificate(t *testing.T, dir string, serial int64) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
