package config_test

import (
	"fmt"

	"traverse.internal/config"
)

func ExampleLoad() {
	c, err := config.Load("", []string{"TRAVERSE_PATH_POLICY=direct-only"}, map[string]string{"private-dht": "true"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.DHT.Mode, c.Origin("dht.mode"))
	fmt.Println(c.Path.Policy, c.Origin("path.policy"))
	fmt.Println(c.Accept.Default, c.Origin("accept.default"))

	_, err = config.Load("", nil, map[string]string{"path": "relay_only"})
	fmt.Println(err)
	// Output:
	// private --private-dht
	// direct-only TRAVERSE_PATH_POLICY
	// ask default
	// config: --path: path.policy: "relay_only" is not one of auto, direct-only, relay-only; did you mean "relay-only"?
}
