package interop

import (
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"traverse.internal/internal/loopback"
)

// Two of libnice's agents, in GStreamer's pipelines and allowed to relay only, send RTP both ways: 4 s of audio, every packet.
func TestLibnice(t *testing.T) {
	loopback.Need(t, "python3", "/usr/bin/python3")
	const modules = "import gi; gi.require_version('Gst', '1.0'); gi.require_version('Nice', '0.1'); from gi.repository import Gst, Nice; " +
		"Gst.init(None); assert all(Gst.ElementFactory.find(e) for e in ('nicesrc', 'rtppcmupay', 'mulawenc', 'audiotestsrc'))"
	if out, err := exec.Command("/usr/bin/python3", "-c", modules).CombinedOutput(); err != nil {
		t.Skipf("libnice and GStreamer for Python are missing, our server was NOT tested with them (Debian: python3-gi gir1.2-nice-0.1 "+
			"gir1.2-gstreamer-1.0 gstreamer1.0-nice gstreamer1.0-plugins-base gstreamer1.0-plugins-good): %v\n%s", err, out)
	}
	t.Parallel()
	s := serve(t)
	port := strconv.Itoa(int(s.UDPAddrs()[0].Port()))
	for _, ip := range []netip.Addr{loopback.IP4, loopback.IP6} {
		for _, transport := range []string{"udp", "tcp"} {
			t.Run(transport+" "+ip.String(), func(t *testing.T) {
				t.Parallel()
				cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "testdata/nice.py", ip.String(), port, transport)
				loopback.EndWithUs(cmd)
				out, err := cmd.CombinedOutput()
				if err != nil || !strings.Contains(string(out), "received 200 and 200 of 200 by candidates of type relay\n") {
					t.Errorf("%v: %s", err, out)
				}
			})
		}
	}
}
