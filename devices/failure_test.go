package devices_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/devices"
	"github.com/besterhub/bester/devices/devicetest"
	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub"
)

func TestFailureIsLoggedOnceAndBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setClock()
		var log bytes.Buffer
		out := &sink{}
		broken := devicetest.Step{Err: errors.New("remote I/O error")}
		steps := []devicetest.Step{warm, warm}
		for range 8 {
			steps = append(steps, broken)
		}
		s := devicetest.NewScript(append(steps, warm)...)
		p, stop := poll(t, s, out, devices.PollerOptions{Interval: time.Second, Log: slog.New(slog.NewTextHandler(&log, nil))})
		start := time.Now()
		time.Sleep(10 * time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "sensor fails") || !strings.Contains(lines[0], "remote I/O error") ||
			!strings.Contains(lines[0], "device=bme280") || !strings.Contains(lines[1], "sensor works again") || !strings.Contains(lines[1], "failures=8") {
			t.Errorf("got log\n%s", log.String())
		}
		if st := p.Stats(); st.Failures != 8 {
			t.Errorf("got %+v, want 8 failures", st)
		}
		// Failures at 2, 4, 8, 16, 32, 64 = 1 min 4 s … and then once a minute.
		back := out.times[2].Sub(start)
		if back < 2*time.Minute || back > 5*time.Minute {
			t.Errorf("the sensor that works again was asked after %v, want some minutes", back)
		}
		if next := out.times[3].Sub(out.times[2]); next != time.Second {
			t.Errorf("after it worked again it was asked %v later, want 1s", next)
		}
	})
}

func TestReadingsBesideAnErrorCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setClock()
		out := &sink{}
		p, stop := poll(t, devicetest.NewScript(devicetest.Step{Readings: warm.Readings, Err: errors.New("humidity: checksum")}), out, devices.PollerOptions{})
		synctest.Wait()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats(); s.Failures != 1 || s.Sent != 1 || !s.Failing {
			t.Errorf("got %+v", s)
		}
	})
}

func TestBadReadingsAreLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setClock()
		out := &sink{}
		var log bytes.Buffer
		p, stop := poll(t, devicetest.NewScript(
			devicetest.Step{Readings: []devices.Reading{
				devices.Number("a", devices.None, math.NaN()), devices.Number("no name", devices.None, 1), {Name: "kind", Kind: senml.Blob},
				devices.Number("good", devices.None, 1),
			}},
			devicetest.Step{Readings: []devices.Reading{devices.Number("a", devices.None, math.Inf(1))}},
			warm,
		), out, devices.PollerOptions{Interval: time.Second, Log: slog.New(slog.NewTextHandler(&log, nil))})
		time.Sleep(2500 * time.Millisecond)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats(); s.Invalid != 4 || s.Sent != 2 || len(out.lines) != 2 || !strings.Contains(out.lines[0], "bme280/good=1") {
			t.Errorf("got %+v, %q", s, out.lines)
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("got %d lines of log, want one at the begin and one at the end:\n%s", n, log.String())
		}
	})
}

func TestRefusedReadingsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setClock()
		out := &sink{err: hub.ErrNoHandler}
		p, stop := poll(t, devicetest.NewScript(warm), out, devices.PollerOptions{Interval: time.Second})
		time.Sleep(2500 * time.Millisecond)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats(); s.Refused != 3 || s.Sent != 0 || s.Failures != 0 {
			t.Errorf("got %+v, want 3 refused", s)
		}
	})
}

// A driver that panics fails, with its stack in the log once, and is read again.
func TestDriverPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setClock()
		var log bytes.Buffer
		out := &sink{}
		reads := 0
		s := devicetest.NewScript(warm)
		p, stop := poll(t, sensorFunc(func(ctx context.Context, dst []devices.Reading) ([]devices.Reading, error) {
			if reads++; reads%2 == 1 && reads < 6 {
				panic("index out of range")
			}
			return s.Read(ctx, dst)
		}), out, devices.PollerOptions{Interval: time.Second, Log: slog.New(slog.NewTextHandler(&log, nil))})
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if st := p.Stats(); st.Failures != 3 || st.Reads < 10 {
			t.Errorf("got %+v, want 3 failures", st)
		}
		if text := log.String(); strings.Count(text, "level=ERROR") != 3 || !strings.Contains(text, "it panicked: index out of range") || !strings.Contains(text, "failure_test.go") {
			t.Errorf("got log\n%s", text)
		}
	})
}

type sensorFunc func(ctx context.Context, dst []devices.Reading) ([]devices.Reading, error)

func (f sensorFunc) Read(ctx context.Context, dst []devices.Reading) ([]devices.Reading, error) {
	return f(ctx, dst)
}
func (f sensorFunc) Close() error { return nil }

// A part that panics fails alone.
func TestPartPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var good blockingPart
		p := devices.NewParts(good.part("good"), devices.Part{Name: "bad", Read: func([]devices.Reading) ([]devices.Reading, error) { panic("nil map") }})
		for range 3 {
			got, err := p.Read(t.Context(), nil)
			if !slices.Equal(names(got), []string{"good"}) || err == nil || !strings.Contains(err.Error(), "bad: the driver has a bug: it panicked: nil map") {
				t.Errorf("got %v, %v", names(got), err)
			}
		}
	})
}
