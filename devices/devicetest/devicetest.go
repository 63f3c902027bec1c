// Package devicetest has the conformance suite that every devices.Sensor passes,
// and a scripted sensor for tests.
package devicetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/devices"
	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub"
)

// TestSensor checks that s keeps the contract of devices.Sensor. It appends readings
// whose names and values a message can carry. It does not change readings that it
// returned before. It returns when its context has ended. s must be readable now and
// during the test; parts of it may fail.
func TestSensor(t *testing.T, s devices.Sensor) {
	t.Helper()
	before := devices.Number("before", devices.None, 1)
	first, err := s.Read(t.Context(), []devices.Reading{before})
	if !readable(err) {
		t.Fatalf("Read: %v", err)
	}
	if len(first) < 2 || first[0] != before {
		t.Fatalf("Read did not append: got %d readings, the first %+v; want what dst had, and more", len(first), first[0])
	}
	first = first[1:]
	t.Run("names", func(t *testing.T) { checkNames(t, first) })
	t.Run("values", func(t *testing.T) { checkValues(t, first) })
	t.Run("ownership", func(t *testing.T) {
		kept, copied := slices.Clone(first), deepClone(first)
		if _, err := s.Read(t.Context(), nil); !readable(err) {
			t.Fatalf("second Read: %v", err)
		}
		if !slices.Equal(kept, copied) {
			t.Errorf("the second Read changed what the first had given:\ngot  %+v\nwant %+v", kept, copied)
		}
	})
	t.Run("ended context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		done := make(chan error, 1)
		go func() {
			_, err := s.Read(ctx, nil)
			done <- err
		}()
		select {
		case <-done: // with ctx's error, or with readings
		case <-time.After(10 * time.Second):
			t.Fatal("Read has not returned 10 s after its context ended")
		}
	})
}

// readable reports whether a Read has yielded readings: parts may have failed.
func readable(err error) bool {
	var parts devices.PartErrors
	return err == nil || errors.As(err, &parts)
}

func checkNames(t *testing.T, readings []devices.Reading) {
	seen := make(map[string]bool)
	for _, r := range readings {
		if !senml.ValidName("hub/device/"+r.Name) || r.Name == "" {
			t.Errorf("name %q is none that SenML can carry", r.Name)
		}
		if strings.ToLower(r.Name) != r.Name {
			t.Errorf("name %q is not in lower case, as all others are", r.Name)
		}
		if r.Time.IsZero() && seen[r.Name] {
			t.Errorf("name %q comes twice without a time", r.Name)
		}
		seen[r.Name] = true
	}
}

// checkValues writes the readings as a message carries them and reads them back.
func checkValues(t *testing.T, readings []devices.Reading) {
	var p senml.Pack
	p.Reset(hub.MessagePack, "hub/device/", time.Now())
	for _, r := range readings {
		var err error
		switch r.Kind {
		case senml.Number:
			err = p.Number(r.Name, string(r.Unit), r.Value, r.Time)
		case senml.Bool:
			err = p.Bool(r.Name, r.Value != 0, r.Time)
		case senml.Text:
			err = p.Text(r.Name, r.Text, r.Time)
		default:
			t.Errorf("%s: kind %d is none that a reading can have", r.Name, r.Kind)
			continue
		}
		if err != nil {
			t.Error(err)
		}
		if r.Kind != senml.Number && r.Unit != devices.None {
			t.Errorf("%s: unit %q of what is no number", r.Name, r.Unit)
		}
	}
	d, err := p.Data()
	if err != nil {
		t.Fatal(err)
	}
	var back senml.Reader
	n := 0
	for back.Reset(d); back.Next(); n++ {
	}
	if back.Err() != nil || n != len(readings) {
		t.Errorf("read back %d of %d readings: %v", n, len(readings), back.Err())
	}
}

func deepClone(readings []devices.Reading) []devices.Reading {
	readings = slices.Clone(readings)
	for i := range readings {
		readings[i].Name = strings.Clone(readings[i].Name)
		readings[i].Text = strings.Clone(readings[i].Text)
	}
	return readings
}
