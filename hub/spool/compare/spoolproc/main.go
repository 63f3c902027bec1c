// Spoolproc is hub/spool as a process of its own. It takes records over a loopback
// socket, or makes them itself, like a program that contains the spool.
//
//	spoolproc FOLDER
//
// It prints its address. A connection carries records, each preceded by its length in 4
// bytes, little-endian. The answer to each is its sequence in 8 bytes, in order, when
// the record is on the card. A line on standard input is a load.Load in JSON: it is
// carried out within the process and answered by a line with the load.Result. A Load
// without a Flight reads and confirms all records. The process ends with its input.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/besterhub/bester/hub/spool"
	"github.com/besterhub/bester/hub/spool/compare/load"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "spoolproc:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: spoolproc FOLDER")
	}
	ctx := context.Background()
	s, err := spool.Open(os.Args[1], spool.Options{MaxBytes: 1 << 30}) // the others have no bound
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(s, conn)
		}
	}()
	fmt.Println(l.Addr())
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var job load.Load
		if err := in.Decode(&job); err == io.EOF {
			return s.Close(ctx)
		} else if err != nil {
			return err
		}
		var r load.Result
		if job.Flight == 0 {
			err = drain(ctx, s)
		} else {
			r, err = load.Drive(job, func(data []byte) error {
				_, err := s.Append(ctx, data)
				return err
			})
		}
		if err != nil {
			return err
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
}

func drain(ctx context.Context, s *spool.Spool) error {
	const name = "compare"
	r, err := s.Reader(name)
	if err != nil {
		return err
	}
	defer s.RemoveReader(name) // what comes next waits for nobody
	for s.Stats().Queued > 0 {
		rec, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if err := r.Confirm(rec.Seq); err != nil {
			return err
		}
	}
	return s.Sync(ctx)
}

// serve appends what a connection brings. It hangs up when a record is refused.
func serve(s *spool.Spool, conn net.Conn) {
	defer conn.Close()
	a := acks{conn: conn, more: make(chan struct{}, 1)}
	gone := make(chan struct{})
	defer close(gone)
	go a.writeLoop(gone)
	in := bufio.NewReaderSize(conn, 64<<10)
	var data []byte
	for {
		head, err := in.Peek(4)
		if err != nil {
			return
		}
		n := int(binary.LittleEndian.Uint32(head))
		if n > 1<<20 {
			return
		}
		if cap(data) < n {
			data = make([]byte, n)
		}
		in.Discard(4)
		if _, err := io.ReadFull(in, data[:n]); err != nil {
			return
		}
		if err := s.AppendAsync(data[:n], a.add); err != nil {
			return
		}
	}
}

// acks gathers acknowledgements, so that those of a batch are sent in one write.
type acks struct {
	conn net.Conn
	more chan struct{}

	mu  sync.Mutex
	buf []byte
}

// add is called by the goroutine that writes the spool.
func (a *acks) add(seq uint64, err error) {
	if err != nil {
		a.conn.Close()
		return
	}
	a.mu.Lock()
	a.buf = binary.LittleEndian.AppendUint64(a.buf, seq)
	a.mu.Unlock()
	select {
	case a.more <- struct{}{}:
	default:
	}
}

func (a *acks) writeLoop(gone <-chan struct{}) {
	var out []byte
	for {
		select {
		case <-a.more:
		case <-gone:
			return
		}
		a.mu.Lock()
		out, a.buf = a.buf, out[:0]
		a.mu.Unlock()
		if _, err := a.conn.Write(out); err != nil {
			a.conn.Close()
			return
		}
	}
}
