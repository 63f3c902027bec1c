package tristanable_test

import (
	"context"
	"fmt"
	"net"

	"github.com/besterhub/bester/hub/tristanable"
)

func Example() {
	a, b := net.Pipe()

	// The server answers each request under the tag that it came with.
	server := tristanable.NewConn(b, tristanable.Options{
		Incoming: func(c *tristanable.Conn, tag uint64, message []byte) {
			if err := c.Send(tag, []byte("you said "), message); err != nil {
				fmt.Println(err)
			}
		},
	})

	client := tristanable.NewConn(a, tristanable.Options{})
	reply, err := client.Call(context.Background(), []byte("hello"), nil)
	fmt.Printf("%s %v\n", reply, err)

	client.Close()
	<-client.Done()
	<-server.Done()
	// Output: you said hello <nil>
}
