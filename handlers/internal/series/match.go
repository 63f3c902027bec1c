package series

import (
	"fmt"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub/options"
)

// CheckName returns an error if Matches cannot use the name that the operator wrote.
func CheckName(name string) error {
	if !senml.ValidName(name) {
		return fmt.Errorf("name %q: want a SenML name or its last levels: letters, digits and - : . / _", name)
	}
	return nil
}

// Matches reports whether want, as the operator wrote it, matches the SenML name: all of
// it, or its last levels. "temperature" and "bme280/temperature" both match
// "greenhouse/bme280/temperature".
func Matches[T string | []byte](want string, name T) bool {
	n := len(name) - len(want)
	return n >= 0 && string(name[n:]) == want && (n == 0 || name[n-1] == '/')
}

// CheckMemory returns an error if a filter cannot work with that much memory; 0 stands
// for DefaultMemory.
func CheckMemory(b options.Bytes) error {
	if b != 0 && b < MinMemory {
		return fmt.Errorf("memory %v: want %v or more", b, options.Bytes(MinMemory))
	}
	return nil
}
