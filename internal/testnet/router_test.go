package testnet

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"traverse.internal/core/portmap"
)

// routerPlan is a router that maps TCP ports when asked, in one of the three ways: a second implementation of them, from the RFCs and
// from what miniupnpd answers. The mappings are real: they go into the map of the NAT's rules.
type routerPlan struct {
	How             portmap.How
	Inside, Outside netip.Addr
}

func beRouter(p *routerPlan) error {
	var err error
	switch p.How {
	case portmap.UPnP:
		err = p.serveUPnP()
	default:
		err = p.servePorts()
	}
	if err != nil {
		return err
	}
	w := &wire{in: bufio.NewReader(os.Stdin), out: os.Stdout}
	w.write(message{Kind: "ready"})
	_, _ = w.read() // until the test is over
	return nil
}

// lead makes or, with no lifetime, ends a mapping.
func lead(port uint16, to netip.Addr, lifetime uint32) error {
	_ = exec.Command("nft", "delete", "element", "ip", "router", "tcp_ports", fmt.Sprintf("{ %d }", port)).Run() // it may not be there
	if lifetime == 0 {
		return nil
	}
	out, err := exec.Command("nft", "add", "element", "ip", "router", "tcp_ports", fmt.Sprintf("{ %d timeout %ds : %v }", port, lifetime, to)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// servePorts is PCP or NAT-PMP.
func (p *routerPlan) servePorts() error {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.Inside, 5351)))
	if err != nil {
		return err
	}
	go func() {
		b := make([]byte, 1100)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if out := p.answer(b[:n], from.Addr().Unmap()); out != nil {
				_, _ = conn.WriteToUDPAddrPort(out, from)
			}
		}
	}()
	return nil
}

func (p *routerPlan) answer(b []byte, from netip.Addr) []byte {
	switch {
	case p.How == portmap.PCP && len(b) == 60 && b[0] == 2 && b[1] == 1:
		port, lifetime := binary.BigEndian.Uint16(b[40:]), min(binary.BigEndian.Uint32(b[4:]), 3600)
		out := bytes.Clone(b)
		out[1] = 0x81
		binary.BigEndian.PutUint32(out[4:], lifetime)
		copy(out[8:24], []byte{0, 0, 0, 7, 15: 0})
		copy(out[42:], b[40:42]) // the port inside is the one outside: the rules keep it
		at := p.Outside.As16()
		copy(out[44:], at[:])
		if client, _ := netip.AddrFromSlice(b[8:24]); client.Unmap() != from || b[36] != 6 {
			out[3] = 12 // ADDRESS_MISMATCH
		} else if err := lead(port, from, lifetime); err != nil {
			out[3] = 4 // NETWORK_FAILURE
		}
		return out
	case p.How != portmap.NATPMP:
		return nil
	case b[0] != 0:
		return []byte{0, b[1] | 0x80, 0, 1, 0, 0, 0, 7}
	case len(b) == 2 && b[1] == 0:
		return append([]byte{0, 128, 0, 0, 0, 0, 0, 7}, p.Outside.AsSlice()...)
	case len(b) == 12 && b[1] == 2:
		port, lifetime := binary.BigEndian.Uint16(b[4:]), min(binary.BigEndian.Uint32(b[8:]), 3600)
		out := append([]byte{0, 130, 0, 0, 0, 0, 0, 7}, b[4:6]...)
		out = append(out, b[4:6]...)
		if err := lead(port, from, lifetime); err != nil {
			out[3] = 3
		}
		return binary.BigEndian.AppendUint32(out, lifetime)
	}
	return nil
}

const (
	igdService = "urn:schemas-upnp-org:service:WANIPConnection:1"
	igdRoot    = `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor></specVersion>
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><friendlyName>r</friendlyName><UDN>uuid:1</UDN><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><UDN>uuid:2</UDN><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><UDN>uuid:3</UDN><serviceList><service>
<serviceType>` + igdService + `</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId><SCPDURL>/scpd</SCPDURL>
<controlURL>/control</controlURL><eventSubURL>/events</eventSubURL></service></serviceList></device></deviceList></device></deviceList></device></root>`
)

// serveUPnP is an Internet Gateway Device: SSDP, a description, and the three actions.
func (p *routerPlan) serveUPnP() error {
	group := &net.UDPAddr{IP: net.IPv4(239, 255, 255, 250), Port: 1900}
	lan, err := net.InterfaceByName("lan")
	if err != nil {
		return err
	}
	ssdp, err := net.ListenMulticastUDP("udp4", lan, group)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp4", netip.AddrPortFrom(p.Inside, 5000).String())
	if err != nil {
		return err
	}
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := ssdp.ReadFromUDP(b)
			if err != nil {
				return
			}
			if !bytes.HasPrefix(b[:n], []byte("M-SEARCH")) || !bytes.Contains(b[:n], []byte(igdService)) {
				continue
			}
			// First a liar, whose description is at somebody else's.
			for _, at := range []string{"192.168.1.77:80", ln.Addr().String()} {
				fmt.Fprintf(writerTo{ssdp, from}, "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: %s\r\nUSN: uuid:%s::%s\r\nEXT:\r\nLOCATION: http://%s/root\r\n\r\n",
					igdService, at, igdService, at)
			}
		}
	}()
	go func() { _ = http.Serve(ln, http.HandlerFunc(p.control)) }()
	return nil
}

type writerTo struct {
	conn *net.UDPConn
	to   *net.UDPAddr
}

func (w writerTo) Write(b []byte) (int, error) { return w.conn.WriteToUDP(b, w.to) }

func (p *routerPlan) control(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/root" {
		_, _ = io.WriteString(w, igdRoot)
		return
	}
	body, _ := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	value := func(name string) string {
		m := regexp.MustCompile(`<` + name + `>([^<]*)</` + name + `>`).FindSubmatch(body)
		if m == nil {
			return ""
		}
		return string(m[1])
	}
	_, action, _ := strings.Cut(strings.Trim(r.Header.Get("SOAPACTION"), `"`), "#")
	var port uint16
	_, _ = fmt.Sscan(value("NewExternalPort"), &port)
	var out string
	switch action {
	case "GetExternalIPAddress":
		out = "<NewExternalIPAddress>" + p.Outside.String() + "</NewExternalIPAddress>"
	case "AddPortMapping":
		if value("NewLeaseDuration") != "0" {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring>`+
				`<detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>725</errorCode><errorDescription>OnlyPermanentLeasesSupported</errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>`)
			return
		}
		to, err := netip.ParseAddr(value("NewInternalClient"))
		if err != nil || value("NewProtocol") != "TCP" || lead(port, to, 3600) != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
	case "DeletePortMapping":
		_ = lead(port, netip.Addr{}, 0)
	}
	fmt.Fprintf(w, `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">`+
		`<s:Body><u:%sResponse xmlns:u="%s">%s</u:%sResponse></s:Body></s:Envelope>`, action, igdService, out, action)
}
