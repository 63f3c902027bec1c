package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/besterhub/bester/hub/client"
)

// startIdle starts besterd with the default config, except for its listeners and its
// accounts, and waits until a user can log in on its socket.
func startIdle(t *testing.T, besterd string) (p *process, socket string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "b") // short, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	socket = filepath.Join(folder, "bester.sock")
	file := filepath.Join(folder, "bester.toml")
	config := fmt.Sprintf("[[listen]]\nnetwork = \"unix\"\naddress = %q\n[[listen]]\nnetwork = \"tcp4\"\naddress = \"127.0.0.1:0\"\n[accounts]\nfile = %q\n",
		socket, filepath.Join(folder, "accounts"))
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if p, err = startProcess("besterd", exec.Command(besterd, file)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	for {
		c, err := client.Dial(t.Context(), "unix", socket, client.Options{User: "first"})
		if err == nil {
			c.Close(t.Context())
			return p, socket
		}
		if time.Since(began) > timeout {
			t.Fatalf("not ready: %v\n%s", err, p)
		}
		time.Sleep(200 * time.Microsecond) // there is no event before there is a socket
	}
}

// skipUnlessMeasurable skips where numbers say nothing: under the race detector and in an
// emulator. The hub is the real program, not the larger test binary.
func skipUnlessMeasurable(t *testing.T) (besterd string) {
	t.Helper()
	if race {
		t.Skip("the race detector takes its own time and memory")
	}
	skipIfEmulated(t)
	path, err := buildProgram("besterd", "github.com/besterhub/bester/cmd/besterd")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A hub with nothing to do has used at most 150 ms of a processor once it has let a user
// in, in the middle one of ten starts: it is ready that soon after exec if nothing else runs.
func TestStartupTime(t *testing.T) {
	besterd := skipUnlessMeasurable(t)
	var all []time.Duration
	for range 10 {
		p, _ := startIdle(t, besterd)
		p.kill()
		if _, err := p.wait(); err != nil {
			t.Fatal(err)
		}
		all = append(all, p.cmd.ProcessState.UserTime()+p.cmd.ProcessState.SystemTime())
	}
	slices.Sort(all)
	median := all[len(all)/2]
	t.Logf("processor time %v at best, %v in the middle, %v at worst", all[0], median, all[len(all)-1])
	if median > 150*time.Millisecond {
		t.Errorf("%v of processor time, want at most 150ms", median)
	}
}

// A hub with nothing to do takes at most 10 MB of memory, one second after its start.
func TestIdleMemory(t *testing.T) {
	besterd := skipUnlessMeasurable(t)
	p, _ := startIdle(t, besterd)
	time.Sleep(time.Second) // the measure is of this moment
	pid := p.cmd.Process.Pid
	rss := kilobytes(t, pid, "status", "VmRSS")
	t.Logf("RSS %d kB, PSS %d kB", rss, kilobytes(t, pid, "smaps_rollup", "Pss"))
	if rss > 10_000_000/1024 {
		t.Errorf("RSS %d kB, want at most 10 MB", rss)
	}
}

// Connections that have gone leave nothing behind: after a thousand, a hub has as many
// descriptors and goroutines as after ten.
func TestConnectionsDoNotLeak(t *testing.T) {
	besterd := skipIfEmulated(t) // with the race detector as well
	fewDescriptors, fewGoroutines := openAfter(t, besterd, 10, 0)
	descriptors, goroutines := openAfter(t, besterd, 1000, fewDescriptors)
	t.Logf("%d descriptors, %d goroutines", descriptors, goroutines)
	if descriptors > fewDescriptors {
		t.Errorf("%d descriptors after 1,000 connections, %d after 10", descriptors, fewDescriptors)
	}
	if goroutines > fewGoroutines {
		t.Errorf("%d goroutines after 1,000 connections, %d after 10", goroutines, fewGoroutines)
	}
}

// openAfter counts what a hub has open after n connections, once it has no more than want,
// if that is given and it ever comes to that.
func openAfter(t *testing.T, besterd string, n, want int) (descriptors, goroutines int) {
	t.Helper()
	p, socket := startIdle(t, besterd)
	for i := range n {
		c, err := client.Dial(t.Context(), "unix", socket, client.Options{User: "visitor"})
		if err == nil {
			err = c.Close(t.Context())
		}
		if err != nil {
			t.Fatalf("connection %d: %v\n%s", i, err, p)
		}
	}
	// Wait until the hub has closed the last connection, which it does not announce.
	for deadline := time.Now().Add(timeout); ; time.Sleep(20 * time.Millisecond) {
		now := countDescriptors(t, p.cmd.Process.Pid)
		if now == descriptors && (want == 0 || now <= want) || time.Now().After(deadline) {
			break
		}
		descriptors = now
	}
	// The Go runtime answers SIGQUIT with what every goroutine does.
	p.cmd.Process.Signal(syscall.SIGQUIT)
	if _, err := p.wait(); err != nil {
		t.Fatal(err)
	}
	for stack := range strings.SplitSeq(p.String(), "\n\n") {
		// Goroutines of the collector come and go.
		if strings.HasPrefix(stack, "goroutine ") && strings.Contains(stack, "besterhub/bester/") {
			goroutines++
		}
	}
	if goroutines == 0 {
		t.Fatalf("no goroutine in\n%s", p)
	}
	return descriptors, goroutines
}

// countDescriptors counts the descriptors of a process.
func countDescriptors(t *testing.T, pid int) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// kilobytes reads a number from a file of /proc.
func kilobytes(t *testing.T, pid int, file, name string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+) kB$`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("/proc/%d/%s: no %s:\n%s", pid, file, name, text)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
