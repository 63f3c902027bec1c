package devices_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/devices"
	"github.com/besterhub/bester/devices/devicetest"
)

// blockingPart is a part that can be made to hang.
type blockingPart struct {
	hang    atomic.Pointer[chan struct{}] // nil: it does not hang
	running atomic.Int32                  // reads in progress
	most    atomic.Int32
}

func (b *blockingPart) part(name string) devices.Part {
	return devices.Part{Name: name, Read: func(dst []devices.Reading) ([]devices.Reading, error) {
		b.most.Store(max(b.most.Load(), b.running.Add(1)))
		if hang := b.hang.Load(); hang != nil {
			<-*hang
		}
		b.running.Add(-1)
		return append(dst, devices.Number(name, devices.None, 1)), nil
	}}
}

func names(readings []devices.Reading) (all []string) {
	for _, r := range readings {
		all = append(all, r.Name)
	}
	return all
}

func TestPartsAreASensor(t *testing.T) {
	var a, b blockingPart
	devicetest.TestSensor(t, devices.NewParts(a.part("a"), b.part("b")))
}

// A part that hangs is named, costs one deadline once, has one goroutine however often it
// is asked for, and comes back by itself.
func TestPartHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var nas, root blockingPart
		p := devices.NewParts(nas.part("nas"), root.part("root"))
		release := make(chan struct{})
		nas.hang.Store(&release)
		read := func() ([]string, time.Duration, error) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			began := time.Now()
			got, err := p.Read(ctx, nil)
			return names(got), time.Since(began), err
		}
		for i := range 10 {
			got, took, err := read()
			var failed devices.PartErrors
			if !errors.As(err, &failed) || len(failed) != 1 || failed[0].Part != "nas" || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("read %d: got %v; want that nas does not answer", i, err)
			}
			if !slices.Equal(got, []string{"root"}) {
				t.Errorf("read %d: got %v, want root alone", i, got)
			}
			if want := 5 * time.Second; i == 0 && took != want || i > 0 && took != 0 {
				t.Errorf("read %d took %v", i, took)
			}
			time.Sleep(time.Second)
		}
		if most := nas.most.Load(); most != 1 {
			t.Errorf("%d goroutines read it at once, want 1", most)
		}
		nas.hang.Store(nil)
		close(release)
		synctest.Wait()
		if got, _, err := read(); err != nil || !slices.Equal(got, []string{"nas", "root"}) {
			t.Errorf("after it came back: got %v, %v", got, err)
		}
	})
}

// A part that was late and hangs again costs the others a moment, not a deadline.
func TestPartHangsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bus, cpu blockingPart
		p := devices.NewParts(cpu.part("cpu"), bus.part("bus"))
		for i := range 4 {
			release := make(chan struct{})
			bus.hang.Store(&release)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			began := time.Now()
			if got, err := p.Read(ctx, nil); err == nil || !slices.Equal(names(got), []string{"cpu"}) {
				t.Fatalf("got %v, %v", names(got), err)
			}
			if took := time.Since(began); i > 0 && took > time.Second {
				t.Errorf("read %d took %v", i, took)
			}
			cancel()
			close(release)
			synctest.Wait()
		}
	})
}

func TestPartFails(t *testing.T) {
	broken := errors.New("remote I/O error")
	p := devices.NewParts(
		devices.Part{Name: "a", Read: func(dst []devices.Reading) ([]devices.Reading, error) {
			return append(dst, devices.Number("half", devices.None, 1)), broken
		}},
		devices.Part{Name: "b", Read: func(dst []devices.Reading) ([]devices.Reading, error) { return dst, broken }})
	got, err := p.Read(t.Context(), nil)
	if !errors.Is(err, broken) || err.Error() != "a: remote I/O error; b: remote I/O error" || strings.Join(names(got), " ") != "half" {
		t.Errorf("got %v, %v", names(got), err)
	}
}
