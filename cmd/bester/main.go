// Command bester is the operator's tool: it sends and listens as a user of a hub,
// checks configs, keeps accounts, shows what a hub is doing, and runs the built-in
// handlers as processes of their own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/errtext"
)

// version is set by the Makefile.
var version = "devel"

// An exitError is an error with its own exit code. If err is nil, the reason has been printed
// already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exitCode is the exit code of an error.
func exitCode(err error) int {
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitFailed
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends it at once
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, standardError())
	stop()
	os.Exit(code)
}

// standardError returns standard error under another descriptor. The Go runtime ends a
// program whose write to descriptor 1 or 2 finds that the reader of a pipe has ended: right
// for bester status | head, wrong for what is only said beside the output.
func standardError() *os.File {
	fd, err := unix.FcntlInt(uintptr(unix.Stderr), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return os.Stderr
	}
	return os.NewFile(uintptr(fd), os.Stderr.Name())
}

// run runs the command that args name and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	out := &output{Writer: stdout}
	root.SetOut(out)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if outputErr := out.failure(); outputErr != nil && (err == nil || errors.Is(err, errors.Unwrap(outputErr))) {
		fmt.Fprintln(stderr, "bester:", escapeText(errtext.Of(outputErr)))
		return exitFailed
	}
	if err == nil {
		return 0
	}
	return report(ctx, cmd, err, stderr)
}

// report says what went wrong and returns the exit code.
func report(ctx context.Context, cmd *cobra.Command, err error, stderr io.Writer) int {
	var exit *exitError
	var problems *config.Error
	var usage usageError
	switch {
	case errors.As(err, &exit) && exit.err == nil:
		return exit.code
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "bester: interrupted")
		return exitInterrupted
	case errors.As(err, &problems): // each begins with its position, for editors to jump to
		fmt.Fprintln(stderr, escapeText(errtext.Of(err)))
		return exitFailed
	}
	fmt.Fprintln(stderr, "bester:", escapeText(errtext.Of(flagError(err))))
	switch {
	case exit != nil:
		return exit.code
	case !cmd.HasParent() || !cmd.SilenceUsage || errors.As(err, &usage): // the arguments
		fmt.Fprintf(stderr, "Try '%s --help'.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailed
}

// rootCommand returns the whole tree of commands.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "bester",
		Short: "The operator's tool of the Bester message hub",
		Long: `The operator's tool of the Bester message hub.

The hub is found on its UNIX socket on this machine, or where --hub or BESTER_HUB
says: a path, host:port, or tls://host:port; the port is 2223, with tls:// 2224, if it
is left out.

Exit codes are the same for all commands; each says which it has, and why.`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true, // one line says where it is explained
		// After the arguments have been parsed, an error of a command is no usage error.
		PersistentPreRun: func(cmd *cobra.Command, _ []string) { cmd.SilenceUsage = true },
		Args:             rejectUnknown,
		RunE:             func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		SuggestionsMinimumDistance: 2,
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return err })
	root.AddCommand(sendCommand(), requestCommand(), listenCommand(), statusCommand(), routeCommand(), kickCommand(), checkCommand(),
		accountCommand(), handleCommand(), demoCommand(), spoolCommand())
	root.AddCommand(manCommand())
	strictHelp(root)
	documentExits(root)
	explainArgs(root)
	return root
}
