package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/upstream"
	"github.com/besterhub/bester/hub/wire"
)

// servers asks the hub for its servers.
func (p *hubProcess) servers() []upstream.ServerStats {
	p.Helper()
	out, err := exec.Command(p.tool, "status", "--json", "--timeout", "1m", "--hub", filepath.Join(p.folder, "hub.sock")).Output()
	if err != nil {
		p.Fatalf("bester status: %v", err)
	}
	var report struct{ Upstreams []upstream.ServerStats }
	if err := json.Unmarshal(out, &report); err != nil {
		p.Fatal(err)
	}
	return report.Upstreams
}

// A reload takes nothing from a server that stays, even where a stop does not drain: what waits
// for it is sent before what comes after, and its counters go on.
func TestReloadKeepsWhatWaitsForAServer(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	frames := make(chan string, 10)
	held, ended := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(wait))
			frame, err := bformat.NewReader(c, 0).Next()
			if err != nil {
				t.Errorf("server: %v", err)
			}
			frames <- string(frame)
			if strings.Contains(string(frame), `"data":1,`) {
				<-held
			}
			c.Write(bformat.Append(nil, wire.AppendClassicStatus(nil, nil, nil)))
			c.Close()
		}
	}()
	t.Cleanup(func() { release(); l.Close(); <-ended })

	config := fmt.Sprintf("[hub]\ndrain = \"0s\"\n[servers.far]\naddress = %q\n[[route]]\nmatch = \"t\"\nto = [\"@far\"]\n", l.Addr())
	p := startHubProcess(t, config)
	p.await("msg=ready")
	sent := make(chan error, 5)
	send := func(n int) {
		cmd := exec.Command(p.tool, "send", "--timeout", "1m", "--hub", filepath.Join(p.folder, "hub.sock"), "t", fmt.Sprint(n))
		go func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				sent <- fmt.Errorf("message %d: %w: %s", n, err, out)
				return
			}
			sent <- nil
		}()
	}
	// far returns the state of the server when so many of its messages have come.
	far := func(n int) upstream.ServerStats {
		for end := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) {
			all := p.servers()
			i := slices.IndexFunc(all, func(s upstream.ServerStats) bool { return s.Name == "far" })
			s := all[i]
			if int(s.Confirmed+s.Unconfirmed+s.Failed)+s.Waiting >= n {
				return s
			}
			if time.Now().After(end) {
				t.Fatalf("%d messages: %+v", n, s)
			}
		}
	}
	for n := 1; n <= 3; n++ {
		send(n)
		far(n)
	}
	if err := os.WriteFile(p.config, []byte(p.listener()+config+"[servers.other]\naddress = \"127.0.0.1:1\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	p.await(`msg="config applied"`)
	send(4)
	far(4)
	release()
	for n := 1; n <= 4; n++ {
		select {
		case got := <-frames:
			if !strings.Contains(got, fmt.Sprintf(`"data":%d,`, n)) {
				t.Errorf("got %s, want message %d", got, n)
			}
		case <-time.After(wait):
			t.Fatalf("message %d does not come", n)
		}
	}
	for range 4 {
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	if s := far(4); s.Confirmed+s.Unconfirmed != 4 || s.Failed != 0 || s.Waiting != 0 {
		t.Errorf("got %+v", s)
	}
	p.signal(syscall.SIGTERM)
	p.await("msg=ended")
	p.ends(0)
}
