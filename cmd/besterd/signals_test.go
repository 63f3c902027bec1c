package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeService notes what serve does with it, and hangs where the test wants.
type fakeService struct {
	hang map[string]chan struct{} // closed to let it go on

	mu  sync.Mutex
	did []string
}

func (f *fakeService) do(what string) {
	f.mu.Lock()
	f.did = append(f.did, what)
	f.mu.Unlock()
	if c := f.hang[what]; c != nil {
		<-c
	}
}

func (f *fakeService) ready()                 { f.do("ready") }
func (f *fakeService) reload(context.Context) { f.do("reload") }
func (f *fakeService) ending(error)           { f.do("ending") }
func (f *fakeService) drain() time.Duration   { return time.Second }
func (f *fakeService) shutdown() error        { f.do("shutdown"); return nil }

func TestServe(t *testing.T) {
	for _, c := range []struct {
		name    string
		hangs   string        // what hangs from the beginning, if anything
		goesOn  time.Duration // when that goes on; 0: after the hub has ended
		hangup  bool          // SIGHUP after 1 s
		err     string
		want    []string
		endedAt time.Duration // SIGTERM comes after 2 s
	}{
		{"plain", "", 0, true, "", []string{"start", "ready", "reload", "ending", "shutdown"}, 2 * time.Second},
		{"start ends before the signals", "start", time.Second / 2, true, "", []string{"start", "ready", "reload", "ending", "shutdown"}, 2 * time.Second},
		{"start goes on after SIGHUP", "start", 3 * time.Second / 2, true, "", []string{"start", "ready", "reload", "ending", "shutdown"}, 2 * time.Second},
		{"start goes on after SIGTERM", "start", 3 * time.Second, false, "", []string{"start", "ending", "shutdown"}, 3 * time.Second},
		{"start hangs", "start", 0, true, "before it had started", []string{"start"}, 2*time.Second + startGrace},
		{"reload hangs", "reload", 0, true, "", []string{"start", "ready", "reload", "ending", "shutdown"}, 2 * time.Second},
		{"shutdown hangs", "shutdown", 0, false, "did not end within 11s", []string{"start", "ready", "ending", "shutdown"}, 3*time.Second + endGrace},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				hanging := make(chan struct{})
				f := &fakeService{hang: map[string]chan struct{}{c.hangs: hanging}}
				end, terminate := context.WithCancelCause(context.Background())
				s := &signals{end: end, release: func() {}, hangups: make(chan os.Signal, 1)}
				if c.goesOn > 0 {
					time.AfterFunc(c.goesOn, func() { close(hanging) })
				} else {
					defer close(hanging)
				}
				if c.hangup {
					time.AfterFunc(time.Second, func() { s.hangups <- syscall.SIGHUP })
				}
				time.AfterFunc(2*time.Second, func() { terminate(errors.New("SIGTERM")) })
				err := serve(s, func() (service, error) { f.do("start"); return f, nil })
				if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
					t.Errorf("got error %v, want %q", err, c.err)
				}
				f.mu.Lock()
				defer f.mu.Unlock()
				if !slices.Equal(f.did, c.want) {
					t.Errorf("did %q, want %q", f.did, c.want)
				}
				if got := time.Since(began); got != c.endedAt {
					t.Errorf("ended after %v, want %v", got, c.endedAt)
				}
			})
		})
	}
}

// startSlowHub starts a hub with many listeners, and returns as soon as it has the first of
// them: signals find it at its start.
func startSlowHub(t *testing.T) *hubProcess {
	t.Helper()
	folder := t.TempDir()
	var more strings.Builder
	for i := range 100 {
		fmt.Fprintf(&more, "[[listen]]\nnetwork = \"unix\"\naddress = %q\n", filepath.Join(folder, fmt.Sprint(i)))
	}
	p := startHubProcess(t, more.String())
	for end := time.Now().Add(wait); ; time.Sleep(100 * time.Microsecond) {
		if files, _ := os.ReadDir(folder); len(files) > 0 {
			return p
		}
		if time.Now().After(end) {
			t.Fatal("the hub does not listen")
		}
	}
}

func TestSignalsDuringTheStart(t *testing.T) {
	p := startSlowHub(t)
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE} {
		p.signal(s)
	}
	p.await("msg=ready")
	p.await(`msg="config applied"`)
	p.signal(syscall.SIGTERM)
	p.await("msg=ended")
	p.ends(0)
}

func TestEndDuringTheStart(t *testing.T) {
	p := startSlowHub(t)
	p.signal(syscall.SIGTERM)
	p.await("msg=ended")
	p.ends(0)
}

func TestStackDump(t *testing.T) {
	p := startHubProcess(t, "")
	p.await("msg=ready")
	p.signal(syscall.SIGQUIT)
	p.await("^SIGQUIT: quit")
	p.await("main.main")
	io.Copy(io.Discard, p.lines)
	p.ends(2)
}
