package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/client"
)

func requestCommand() *cobra.Command {
	var o messageOptions
	var asJSON bool
	var count int
	cmd := &cobra.Command{
		Use:   "request TYPE [DATA]",
		Short: "Send a message and show what comes back",
		Long: `Send a message of type TYPE and show what comes back: the replies of its handlers,
and what they send to the user it is sent as. It ends with the first that comes (or as
many as --count says), or with an error when nothing came within --timeout.

DATA is as for bester send. ` + jsonHelp,
		Example: `  bester request clock '{"zone":"UTC"}'
  bester request --json --count 2 --timeout 1m survey '{"of":"tanks"}' | jq .data`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if count < 1 {
				return usageError{fmt.Errorf("--count %d: want at least 1", count)}
			}
			m, err := o.message(cmd, args)
			if err != nil {
				return err
			}
			p := newPrinter(cmd, asJSON)
			enough := make(chan struct{})
			show := func(m *hub.Message) {
				if p.n < count {
					if p.print(m); p.n == count {
						close(enough)
					}
				}
			}
			ctx, cancel := o.within(cmd.Context())
			defer cancel()
			c, err := o.dial(ctx, client.Options{Deliver: show})
			if err != nil {
				return err
			}
			defer closeClient(ctx, c)
			note, err := c.RequestWithNote(ctx, m, show)
			if err != nil {
				return o.requestError(err, messageUnknown)
			}
			tellNote(cmd, note, m)
			select {
			case <-enough:
				return p.failure()
			case <-c.Done():
				return endedError(c.Err())
			case <-ctx.Done():
				if err := cmd.Context().Err(); err != nil {
					return err
				}
				return fmt.Errorf("the message was handled, but nothing came back in %v", o.timeout)
			}
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON, one object a line")
	cmd.Flags().IntVarP(&count, "count", "n", 1, "end after this many messages")
	return cmd
}
