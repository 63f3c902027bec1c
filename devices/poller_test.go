package devices_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/besterhub/bester/devices"
	"github.com/besterhub/bester/devices/devicetest"
	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub"
)

// sink records messages as lines of text. If err is set, it refuses them with err.
type sink struct {
	mu    sync.Mutex
	lines []string
	times []time.Time
	last  hub.Message
	err   error
	got   chan struct{} // if not nil, gets a value for each message
}

func (s *sink) Put(m *hub.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	var r senml.Reader
	var b strings.Builder
	fmt.Fprintf(&b, "%s %v", m.Type, m.Data.Encoding)
	for r.Reset(m.Data); r.Next(); {
		rec := r.Record()
		fmt.Fprintf(&b, "; %s=%v%s%s@%s", rec.Name, rec.Number, rec.Unit, rec.Text, rec.At(m.Time).UTC().Format(time.RFC3339Nano))
	}
	if err := r.Err(); err != nil {
		fmt.Fprint(&b, err)
	}
	s.lines = append(s.lines, b.String())
	s.times = append(s.times, m.Time)
	s.last = *m
	if s.got != nil {
		s.got <- struct{}{}
	}
	return nil
}

var warm = devicetest.Step{Readings: []devices.Reading{devices.Number("temperature", devices.Celsius, 21.5)}}

// poll runs a poller in the bubble until stop is called.
func poll(t *testing.T, s devices.Sensor, sink hub.Sink, o devices.PollerOptions) (p *devices.Poller, stop func() error) {
	t.Helper()
	if o.Device == "" {
		o.Device = "bme280"
	}
	p, err := devices.NewPoller(s, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, sink) }()
	return p, func() error {
		cancel()
		return <-ended
	}
}

// synctest's clock starts at midnight UTC on 1 January 2000: before 2020, when a
// board's clock is not yet set. These tests begin later.
func setClock() { time.Sleep(25 * 365 * 24 * time.Hour) }

func TestReadingsThatDoNotGetThroughAreCounted(t *testing.T) {
	var log bytes.Buffer
	p, err := devices.NewPoller(devices.SensorFunc(func(_ context.Context, dst []devices.Reading) ([]devices.Reading, error) {
		return append(dst, devices.Number("a", devices.None, 1)), nil
	}), devices.PollerOptions{Device: "d", Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p.Run(ctx, failing(cancel))
	if s := p.Stats(); s.Sent != 1 || s.Failed != 1 {
		t.Errorf("got %+v", s)
	}
	if !strings.Contains(log.String(), "do not get through") {
		t.Errorf("the log says %q", log.String())
	}
}

// failing is a sink that accepts a message, fails it, and calls the function.
type failing func()

func (f failing) Put(m *hub.Message) error {
	m.Receipt.Done(m, hub.ErrFull)
	f()
	return nil
}

func TestMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setClock()
		out := &sink{}
		start := time.Now()
		s := devicetest.NewScript(devicetest.Step{Readings: []devices.Reading{
			devices.Number("temperature", devices.Celsius, 21.5),
			{Name: "pulses", Unit: devices.Count, Value: 7, Time: start.Add(-time.Second)},
			devices.Bool("ok", true),
			devices.Text("state", "ready"),
		}})
		_, stop := poll(t, s, out, devices.PollerOptions{Hub: "greenhouse", From: hub.Address{User: "sensors"}})
		synctest.Wait()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		at, before := start.UTC().Format(time.RFC3339Nano), start.UTC().Add(-time.Second).Format(time.RFC3339Nano)
		want := "reading/greenhouse/bme280 MessagePack; greenhouse/bme280/temperature=21.5Cel@" + at +
			"; greenhouse/bme280/pulses=7count@" + before + "; greenhouse/bme280/ok=1@" + at + "; greenhouse/bme280/state=0ready@" + at
		if len(out.lines) != 1 || out.lines[0] != want {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(out.lines, "\n"), want)
		}
		if m := out.last; m.From.User != "sensors" || !m.Time.Equal(start) || m.To != nil || m.Receipt == nil {
			t.Errorf("got message %+v", m)
		}
	})
}

func TestTicksFallOnMultiples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setClock()
		time.Sleep(7 * time.Second)
		midnight := time.Now().Truncate(time.Minute)
		out := &sink{}
		p, stop := poll(t, devicetest.NewScript(warm), out, devices.PollerOptions{Interval: 10 * time.Second})
		time.Sleep(35 * time.Second)
		synctest.Wait()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		var got []time.Duration
		for _, at := range out.times {
			got = append(got, at.Sub(midnight))
		}
		want := []time.Duration{7 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second, 40 * time.Second}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got messages at %v, want %v", got, want)
		}
		if s := p.Stats(); s.Reads != 5 || s.Sent != 5 || s.Failures+s.Skipped+s.Invalid+s.Refused != 0 || s.Failing {
			t.Errorf("got %+v", s)
		}
	})
}

func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setClock()
		out := &sink{}
		start := time.Now()
		_, stop := poll(t, devicetest.NewScript(warm), out, devices.PollerOptions{Interval: 10 * time.Second, Jitter: 4 * time.Second})
		time.Sleep(1005 * time.Second)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		late := false
		for i, at := range out.times {
			d := at.Sub(start) - time.Duration(i)*10*time.Second
			if d < 0 || d >= 4*time.Second {
				t.Errorf("message %d is %v late, want less than 4s", i, d)
			}
			late = late || d > 0
		}
		if len(out.times) != 101 || !late {
			t.Errorf("got %d messages, late: %v; want 101, some of them late", len(out.times), late)
		}
	})
}

func TestSlowSensorSkipsTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setClock()
		release := make(chan struct{})
		out := &sink{}
		p, stop := poll(t, devicetest.NewScript(warm, devicetest.Step{Readings: warm.Readings, Until: release}, warm), out,
			devices.PollerOptions{Interval: time.Second, Timeout: time.Hour})
		time.Sleep(5500 * time.Millisecond) // ticks at 0, 1 (hangs), 2, 3, 4, 5
		close(release)
		time.Sleep(time.Second)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats(); s.Skipped != 4 || s.Sent != 3 || s.Failures != 0 {
			t.Errorf("got %+v, want 4 skipped and 3 sent", s)
		}
	})
}

func TestHangingSensorHitsItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setClock()
		out := &sink{}
		p, stop := poll(t, devicetest.NewScript(devicetest.Step{Hang: true}, devicetest.Step{Hang: true}, warm), out,
			devices.PollerOptions{Interval: 10 * time.Second, Timeout: 3 * time.Second})
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats(); s.Failures != 2 || s.Skipped != 0 || s.Sent == 0 || s.Failing {
			t.Errorf("got %+v, want 2 failures, none skipped, some sent", s)
		}
	})
}

// A board without a clock: the pack has no time, so "now" is the message's.
func TestClockNotSetYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		_, stop := poll(t, devicetest.NewScript(warm), out, devices.PollerOptions{})
		synctest.Wait()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		var r senml.Reader
		r.Reset(out.last.Data)
		later := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if !r.Next() || !r.Record().At(later).Equal(later) {
			t.Errorf("a reading from before the clock was set has the time %v", r.Record().At(later))
		}
	})
}

func TestSensorThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		_, stop := poll(t, devicetest.NewScript(devicetest.Step{Until: release}), &sink{}, devices.PollerOptions{})
		synctest.Wait()
		err := stop()
		if err == nil || !strings.Contains(err.Error(), `device "bme280"`) {
			t.Errorf("got %v, want an error that names the device", err)
		}
		close(release) // ends the reading goroutine, for which synctest waits
	})
}

func TestOptions(t *testing.T) {
	for what, o := range map[string]devices.PollerOptions{
		"no device":        {},
		"name":             {Device: "my sensor"},
		"hub's name":       {Device: "a", Hub: "/a"},
		"type":             {Device: "a", Type: "reading/#"},
		"interval":         {Device: "a", Interval: -1},
		"timeout":          {Device: "a", Timeout: -1},
		"jitter":           {Device: "a", Interval: 5, Jitter: 5},
		"name is too long": {Device: strings.Repeat("a", 255)},
	} {
		if _, err := devices.NewPoller(devicetest.NewScript(warm), o); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// A tick allocates nothing. This test runs on the real clock.
func TestAllocations(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a moment")
	}
	defer goleak.VerifyNone(t)
	out := &counting{got: make(chan struct{})}
	p, err := devices.NewPoller(devicetest.NewScript(warm), devices.PollerOptions{Device: "fast", Hub: "board", Interval: 50 * time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx, out) }()
	for range 100 {
		<-out.got
	}
	if n := testing.AllocsPerRun(1000, func() { <-out.got }); n != 0 {
		t.Errorf("a tick allocates %v times, want 0", n)
	}
	cancel()
	for {
		select {
		case <-out.got:
			continue
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		}
		break
	}
}

type counting struct{ got chan struct{} }

func (c *counting) Put(*hub.Message) error {
	c.got <- struct{}{}
	return nil
}
