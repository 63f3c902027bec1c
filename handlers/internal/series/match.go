package series

import (
	"fmt"
	"strings"

	"github.com/besterhub/bester/devices/senml"
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
func Matches(want, name string) bool {
	rest, ok := strings.CutSuffix(name, want)
	return ok && (rest == "" || strings.HasSuffix(rest, "/"))
}
