package system_test

import (
	"context"
	"fmt"

	"github.com/besterhub/bester/devices/system"
)

func ExampleSensor() {
	s, err := system.New(system.Options{Mounts: []string{"/"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	readings, err := s.Read(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range readings {
		if r.Name == "uptime" {
			fmt.Println(r.Name, r.Unit, r.Value > 0)
		}
	}
	// Output: uptime s true
}
