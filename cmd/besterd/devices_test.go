package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/devices"
	devicecatalog "github.com/besterhub/bester/devices/catalog"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/config"
)

// hangingDevice is a device that does not end before the test lets it.
func hangingDevice() *device { return &device{cancel: func() {}, ended: make(chan struct{})} }

func TestReplaceDevicesThatHang(t *testing.T) {
	for _, c := range []struct {
		name    string
		endsAt  time.Duration // when the hub is to end; 0: it is not
		takes   time.Duration
		logged  string
		devices int // afterwards
	}{
		{"reload", 0, deviceStopLimit, `device=old`, 0},
		{"the hub ends meanwhile", time.Second, time.Second, "", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				d := &daemon{log: slog.New(slog.NewTextHandler(&log, nil))}
				quick := hangingDevice()
				close(quick.ended)
				d.devices = map[string]*device{"old": hangingDevice(), "quick": quick}
				ctx, end := context.WithCancel(t.Context())
				defer end()
				if c.endsAt > 0 {
					time.AfterFunc(c.endsAt, func() {
						d.mu.Lock()
						d.shuttingDown = true
						d.mu.Unlock()
						end()
					})
				}
				began := time.Now()
				d.replaceDevices(ctx, map[string]*device{})
				if took := time.Since(began); took != c.takes {
					t.Errorf("took %v, want %v", took, c.takes)
				}
				if got := log.String(); !strings.Contains(got, c.logged) || strings.Contains(got, "quick") || c.logged == "" && got != "" {
					t.Errorf("logged %q, want %q", got, c.logged)
				}
				if len(d.devices) != c.devices {
					t.Errorf("%d devices, want %d", len(d.devices), c.devices)
				}
			})
		})
	}
}

func TestStopDevicesNamesThoseThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick := hangingDevice()
		close(quick.ended)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := stopDevices(ctx, map[string]*device{"quick": quick, "b": hangingDevice(), "a": hangingDevice()})
		if want := "device \"a\" was cut off: context deadline exceeded\ndevice \"b\" was cut off: context deadline exceeded"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

// A device whose bus hangs when it is opened is named, and nothing waits for it without bound.
func TestOpenSensorThatHangs(t *testing.T) {
	var hang chan struct{}
	kinds := devicecatalog.Kinds
	t.Cleanup(func() { devicecatalog.Kinds = kinds })
	devicecatalog.Kinds = append(slices.Clone(kinds), devicecatalog.Kind{Name: "stuck", Open: func(map[string]any) (devices.Sensor, error) {
		<-hang
		return nil, errors.New("too late")
	}})
	synctest.Test(t, func(t *testing.T) {
		hang = make(chan struct{})
		defer close(hang)
		open := func(ctx context.Context, want string, takes time.Duration) {
			t.Helper()
			began := time.Now()
			_, err := openSensor(ctx, config.Device{Name: "lamp", Kind: "stuck"})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			if took := time.Since(began); took != takes {
				t.Errorf("took %v, want %v", took, takes)
			}
		}
		open(t.Context(), `device "lamp": it hangs while it is opened`, deviceOpenLimit)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		open(ctx, `device "lamp": context deadline exceeded`, time.Second)
	})
}

// While a reload waits for a device that hangs, and for a handler that it replaces, the hub
// can be ended as ever: what is in flight is drained.
func TestEndWhileAReloadWaits(t *testing.T) {
	tree := t.TempDir()
	zone := filepath.Join(tree, "sys/class/thermal/thermal_zone0")
	if err := os.MkdirAll(zone, 0o755); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(zone, "type")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}

	socket := filepath.Join(t.TempDir(), "held.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	held, taken, ended := make(chan struct{}), make(chan struct{}, 1), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(wait))
			if _, err := bformat.NewReader(c, 0).Next(); err != nil {
				t.Errorf("handler: %v", err)
			}
			taken <- struct{}{}
			<-held
			c.Write(bformat.Append(nil, []byte(`{"header":{"status":"0","command":{"type":"sendClients","data":[]}},"data":1}`)))
			c.Close()
		}
	}()
	t.Cleanup(func() { release(); l.Close(); <-ended })

	text := func(timeout, more string) string {
		return fmt.Sprintf("[hub]\ndrain = \"1m\"\n[handlers.held]\ntypes = [\"t\"]\ndialect = \"classic\"\nsocket = %q\ntimeout = %q\n%s", socket, timeout, more)
	}
	p := startHubProcess(t, text("1m", fmt.Sprintf("[devices.board]\nkind = \"system\"\nroot = %q\n", tree)))
	p.await("msg=ready")
	var stuck *os.File
	for end := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) { // until the device reads from it
		if stuck, err = os.OpenFile(fifo, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	defer stuck.Close()
	hub := filepath.Join(p.folder, "hub.sock")
	sent := make(chan error, 1)
	go func() {
		out, err := exec.Command(p.tool, "send", "--timeout", "1m", "--hub", hub, "t", "1").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		sent <- err
	}()
	select {
	case <-taken:
	case err := <-sent:
		t.Fatalf("the message does not come to its handler: %v", err)
	}
	second := filepath.Join(p.folder, "second.sock")
	more := fmt.Sprintf("[[listen]]\nnetwork = \"unix\"\naddress = %q\n", second)
	if err := os.WriteFile(p.config, []byte(p.listener()+text("2m", more)), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	for end := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) { // until the new config is in force
		out, err := exec.Command(p.tool, "status", "--json", "--timeout", "1m", "--hub", hub).Output()
		var report struct{ Listeners []string }
		if err == nil {
			err = json.Unmarshal(out, &report)
		}
		if err == nil && len(report.Listeners) == 2 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the config is not applied: %v, %s", err, out)
		}
	}
	p.signal(syscall.SIGTERM)
	p.await("msg=\"ending")
	release()
	if err := <-sent; err != nil {
		t.Errorf("the message that was in flight: %v", err)
	}
	p.await("msg=ended taken=1 delivered=0 failed=0")
	if text := p.rest(); strings.Contains(text, "cut off") {
		t.Errorf("something was cut off: %s", text)
	}
	p.ends(0)
}
