package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/client"
)

//go:embed demo.toml
var demoConfig string

// reloadMarker begins the part of demo.toml that a reload applies once the client listens,
// so that the client sees the first reading too.
const reloadMarker = "# With the client there"

func demoCommand() *cobra.Command {
	var duration time.Duration
	var daemon, remove string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a hub on this machine's own readings, and show them arrive",
		Long: `Start a hub in a temporary folder, with a device that reads this machine, a route
with a filter in the hub and a handler as a process of its own, and a client that shows
what arrives. Until Ctrl-C, or for as long as --duration says; then it cleans up.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if remove != "" {
				return removeAtEnd(cmd.InOrStdin(), remove)
			}
			if daemon == "" {
				self, err := os.Executable()
				if err != nil {
					return err
				}
				daemon = filepath.Join(filepath.Dir(self), "besterd")
			}
			d := &demo{cmd: cmd, daemon: daemon, duration: duration}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().DurationVar(&duration, "duration", 0, "end after this `time` (default: at Ctrl-C)")
	cmd.Flags().StringVar(&daemon, "besterd", "", "`path` of the daemon to run (default: beside this program)")
	cmd.Flags().StringVar(&remove, "remove", "", "")
	cmd.Flags().MarkHidden("remove") // for the demo's own use
	return cmd
}

// A demo is one hub in a temporary folder, and a client of it.
type demo struct {
	cmd      *cobra.Command
	daemon   string
	duration time.Duration
	folder   string
	config   string // the complete config
	target   target
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.folder, err = os.MkdirTemp("", "bester-demo-"); err != nil {
		return fmt.Errorf("no temporary folder can be made: %w; TMPDIR says where else", err)
	}
	defer os.RemoveAll(d.folder)
	alive, err := d.startRemover()
	if err != nil {
		return err
	}
	defer alive.Close()
	d.target = target{hub: filepath.Join(d.folder, "bester.sock"), user: "dashboard", timeout: defaultTimeout()}

	hub, err := d.start(alive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop(hub)) }()

	out := d.cmd.OutOrStdout()
	p := newPrinter(d.cmd, false)
	client, err := d.listen(ctx, p)
	if err != nil {
		return err
	}
	defer closeClient(ctx, client)
	fmt.Fprintf(out, "A hub runs on %s (pid %d).\n"+
		"device system -> handler alarm (a process) -> filter deadband (in the hub) -> this client:\n\n", d.target.hub, hub.Process.Pid)

	if err := d.write(d.config); err != nil {
		return err
	}
	if err := hub.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	began := time.Now()
	if d.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.duration)
		defer cancel()
	}
	select {
	case <-ctx.Done():
	case <-client.Done():
		return endedError(client.Err())
	}
	return d.summary(out, p, time.Since(began))
}

// startRemover starts a process that removes the folder when nobody has the pipe any more
// that it returns: not this program, nor the hub, nor the hub's handlers. So the folder does
// not stay where this program is killed, or ends with its terminal or at a closed pipe.
func (d *demo) startRemover() (alive *os.File, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, alive, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := exec.Command(self, "demo", "--remove", d.folder)
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // the terminal's signals are not for it
	if err := cmd.Start(); err != nil {
		alive.Close()
		return nil, err
	}
	go cmd.Wait()
	return alive, nil
}

// removeAtEnd removes a folder at the end of r.
func removeAtEnd(r io.Reader, folder string) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return os.RemoveAll(folder)
}

// start writes the config and starts the daemon on it. The daemon keeps alive open.
func (d *demo) start(alive *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	d.config = strings.NewReplacer(
		`"{{socket}}"`, strconv.Quote(d.target.hub),
		`"{{bester}}"`, strconv.Quote(self),
		"{{folder}}", d.folder,
	).Replace(demoConfig)
	begin, _, _ := strings.Cut(d.config, reloadMarker)
	if err := d.write(begin); err != nil {
		return nil, err
	}
	cmd := exec.Command(d.daemon, d.file())
	cmd.Stderr = d.cmd.ErrOrStderr()
	// Ctrl-C reaches only this program, which then stops the hub.
	cmd.ExtraFiles = []*os.File{alive}
	// However this program ends, the kernel ends the hub, which ends its handlers. That is
	// tied to the thread that starts it, so this goroutine keeps its thread.
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("the hub cannot be started: %w\nThe demo runs the besterd beside this program; --besterd PATH names another. Without an\ninstalled one, make build makes both", err)
	}
	return cmd, nil
}

// file is where the hub's config is.
func (d *demo) file() string { return filepath.Join(d.folder, "bester.toml") }

func (d *demo) write(config string) error { return os.WriteFile(d.file(), []byte(config), 0o600) }

// stop stops the hub and returns an error if it ended badly.
func stop(hub *exec.Cmd) error {
	hub.Process.Signal(syscall.SIGTERM)
	if err := hub.Wait(); err != nil {
		return fmt.Errorf("besterd: %w", err)
	}
	return nil
}

// listen connects as soon as the hub is there.
func (d *demo) listen(ctx context.Context, p *printer) (*client.Client, error) {
	deadline := time.Now().Add(d.target.timeout)
	for {
		c, err := d.target.dial(ctx, client.Options{Deliver: func(m *hub.Message) { p.print(m) }})
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return c, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// summary asks the hub what it has done.
func (d *demo) summary(out io.Writer, p *printer, took time.Duration) error {
	n := p.count()
	if n == 0 {
		return errors.New("nothing arrived")
	}
	fmt.Fprintf(out, "\n%d messages arrived in %s. What the hub says of it:\n\n", n, took.Round(time.Second))
	report, err := d.target.builtin(context.Background(), statusRequest)
	if err != nil {
		return err
	}
	return showStatus(out, report, d.target.user)
}
