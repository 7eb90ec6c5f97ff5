package relayadmin

import "runtime"

// processors is how many the runtime had at the start.
var processors = runtime.GOMAXPROCS(0)

// SpareProcessor gives the Go runtime a processor more than the server has shards. Each of those keeps one while datagrams come
// in close succession (udp.Poller.Hold), and one is left for everybody else. Without it they wait as other goroutines do: at
// 20,000 packets a second the runtime's monitor then takes the processor away and gives it back with nearly every packet. Who sets
// GOMAXPROCS, which env is asked for, is obeyed. To be called before the server is made.
func SpareProcessor(env func(string) string) {
	if env("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(processors + 1)
	}
}
