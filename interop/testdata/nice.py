# Two agents of libnice, which may only relay, send RTP to each other through a TURN server, in pipelines of GStreamer.
# usage: nice.py IP PORT udp|tcp|tls; prints "received N and N of N by candidates of type TYPE...".
import re
import sys
import gi

gi.require_version("Gst", "1.0")
gi.require_version("Nice", "0.1")
from gi.repository import GLib, Gst, Nice

ip, port, transport = sys.argv[1], int(sys.argv[2]), sys.argv[3]
relay = {"udp": Nice.RelayType.UDP, "tcp": Nice.RelayType.TCP, "tls": Nice.RelayType.TLS}[transport]
PACKETS = 200  # of 20 ms of audio
Gst.init(None)
loop = GLib.MainLoop()
gathered, sides, kinds = [], [], set()


class Side:
    def __init__(self, index):
        self.got, self.ready = 0, False
        self.agent = Nice.Agent.new_full(GLib.MainContext.default(), Nice.Compatibility.RFC5245, Nice.AgentOption.NONE)
        self.agent.set_property("controlling-mode", index == 0)
        self.agent.set_property("force-relay", True)
        self.agent.set_property("upnp", False)
        local = Nice.Address.new()
        local.set_from_string(ip)
        self.agent.add_local_address(local)
        self.stream = self.agent.add_stream(1)
        self.agent.set_stream_name(self.stream, "audio")
        self.agent.set_relay_info(self.stream, 1, ip, port, "u", "p", relay)
        self.agent.connect("candidate-gathering-done", self.on_gathered)
        self.agent.connect("component-state-changed", self.on_state)
        self.receiver = Gst.parse_launch("nicesrc name=nice ! fakesink name=end signal-handoffs=true sync=false async=false")
        self.sender = Gst.parse_launch(
            "audiotestsrc is-live=true num-buffers=%d samplesperbuffer=160 ! audio/x-raw,rate=8000 ! mulawenc "
            "! rtppcmupay min-ptime=20000000 max-ptime=20000000 ! nicesink name=nice sync=false async=false" % PACKETS)
        for pipeline in (self.receiver, self.sender):
            element = pipeline.get_by_name("nice")
            element.set_property("agent", self.agent)
            element.set_property("stream", self.stream)
            element.set_property("component", 1)
        self.receiver.get_by_name("end").connect("handoff", self.on_packet)
        self.receiver.set_state(Gst.State.PLAYING)
        if not self.agent.gather_candidates(self.stream):
            fail("cannot gather")

    def on_gathered(self, agent, stream):
        gathered.append(self)
        if len(gathered) == 2:
            for side, other in (sides, sides[::-1]):
                sdp = side.agent.generate_local_sdp()
                kinds.update(re.findall(r"typ (\w+)", sdp))
                if other.agent.parse_remote_sdp(sdp) < 1:
                    fail("no candidates in:\n" + sdp)

    def on_state(self, agent, stream, component, state):
        if state == Nice.ComponentState.FAILED:
            fail("no path")
        if state == Nice.ComponentState.READY and not self.ready:
            self.ready = True
            if all(side.ready for side in sides):
                for side in sides:
                    side.sender.set_state(Gst.State.PLAYING)

    def on_packet(self, sink, buffer, pad):  # another thread's
        self.got += 1
        if all(side.got >= PACKETS for side in sides):
            GLib.idle_add(finish)


def fail(why):
    print("failed:", why, flush=True)
    loop.quit()


def finish():
    print("received %d and %d of %d by candidates of type %s" % (sides[0].got, sides[1].got, PACKETS, " ".join(sorted(kinds))), flush=True)
    loop.quit()


sides.append(Side(0))
sides.append(Side(1))
GLib.timeout_add_seconds(20, lambda: fail("after 20 s only %s packets" % [side.got for side in sides]))
loop.run()
