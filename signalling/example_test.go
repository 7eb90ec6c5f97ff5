package signalling_test

import (
	"fmt"
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

func ExampleSeal() {
	laptop, _ := identity.New()
	phone, _ := identity.New()

	sealed, _ := signalling.Seal(laptop, signalling.Message{
		Kind: signalling.Request, To: phone.ID(), ID: signalling.RequestID{1}, Expiry: time.Now().Add(time.Minute), Body: []byte("offer"),
	})
	fmt.Println(len(sealed), "bytes, whatever is inside")

	m, err := signalling.Open(phone, sealed)
	fmt.Println(m.From == laptop.ID(), string(m.Body), err)
	_, err = signalling.Open(laptop, sealed)
	fmt.Println(err)
	// Output:
	// 896 bytes, whatever is inside
	// true offer <nil>
	// signalling: bad message: not sealed to this device
}
