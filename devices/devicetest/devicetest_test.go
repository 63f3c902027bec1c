package devicetest_test

import (
	"testing"

	"github.com/besterhub/bester/devices"
	"github.com/besterhub/bester/devices/devicetest"
)

func TestScriptIsASensor(t *testing.T) {
	devicetest.TestSensor(t, devicetest.NewScript(devicetest.Step{Readings: []devices.Reading{
		devices.Number("temperature", devices.Celsius, 21.4),
		devices.Bool("ok", true),
		devices.Text("state", "ready"),
	}}))
}
