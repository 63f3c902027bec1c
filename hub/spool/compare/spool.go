package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/besterhub/bester/hub/spool"
	"github.com/besterhub/bester/hub/spool/compare/load"
)

// spoolProcess is hub/spool in spoolproc. With within, the process makes the records
// itself, as the hub does.
type spoolProcess struct {
	within bool

	*process
	dir  string
	in   io.WriteCloser
	out  *bufio.Reader
	conn net.Conn

	mu      sync.Mutex
	w       *bufio.Writer
	kick    chan struct{}
	waiting chan chan error // who waits for an acknowledgement, in order
	gone    chan struct{}   // the connection is
}

func (s *spoolProcess) name() string {
	if s.within {
		return "hub/spool"
	}
	return "hub/spool, socket"
}

func (s *spoolProcess) program() string { return siblingPath("spoolproc") }

func (s *spoolProcess) version() (string, error) { return "this tree", nil }

func (s *spoolProcess) start(dir string) error {
	cmd := command(s.program(), dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p, err := start(cmd)
	if err != nil {
		return err
	}
	*s = spoolProcess{within: s.within, process: p, dir: dir, in: in, out: bufio.NewReader(out),
		kick: make(chan struct{}, 1), waiting: make(chan chan error, 4096), gone: make(chan struct{})}
	address, err := s.out.ReadString('\n')
	if err != nil {
		p.kill()
		return fmt.Errorf("spoolproc: %w: %s", err, p.says.Bytes())
	}
	if s.conn, err = net.Dial("tcp", strings.TrimSpace(address)); err != nil {
		p.kill()
		return err
	}
	s.w = bufio.NewWriterSize(s.conn, 64<<10)
	go s.readLoop()
	go s.writeLoop()
	return nil
}

func (s *spoolProcess) load(l load.Load) (load.Result, error) {
	if !s.within {
		return load.Drive(l, s.append)
	}
	return s.order(l)
}

// drain makes the process read and confirm all records.
func (s *spoolProcess) drain() error {
	_, err := s.order(load.Load{})
	return err
}

// order makes the process carry out a load itself.
func (s *spoolProcess) order(l load.Load) (r load.Result, err error) {
	if err := json.NewEncoder(s.in).Encode(l); err != nil {
		return r, err
	}
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		return r, fmt.Errorf("spoolproc: %w: %s", err, s.says.Bytes())
	}
	return r, json.Unmarshal(line, &r)
}

func (s *spoolProcess) append(data []byte) error {
	done := make(chan error, 1)
	s.mu.Lock()
	s.waiting <- done
	s.w.Write(binary.LittleEndian.AppendUint32(s.w.AvailableBuffer(), uint32(len(data))))
	s.w.Write(data)
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default:
	}
	select {
	case err := <-done:
		return err
	case <-s.gone:
		return errGone
	}
}

// writeLoop sends what gathered meanwhile in one write.
func (s *spoolProcess) writeLoop() {
	for {
		select {
		case <-s.kick:
		case <-s.gone:
			return
		}
		s.mu.Lock()
		s.w.Flush()
		s.mu.Unlock()
	}
}

func (s *spoolProcess) readLoop() {
	defer close(s.gone)
	in := bufio.NewReader(s.conn)
	var seq [8]byte
	for {
		if _, err := io.ReadFull(in, seq[:]); err != nil {
			return
		}
		(<-s.waiting) <- nil
	}
}

func (s *spoolProcess) stop() error {
	s.in.Close()
	s.conn.Close()
	return s.cmd.Wait()
}

func (s *spoolProcess) kill() {
	s.process.kill()
	s.conn.Close()
}

// records reads the folder directly: the process is not running.
func (s *spoolProcess) records(f func(data []byte)) error {
	q, err := spool.Open(s.dir, spool.Options{MaxBytes: 1 << 30})
	if err != nil {
		return err
	}
	ctx := context.Background()
	defer q.Close(ctx)
	r, err := q.Reader("compare")
	if err != nil {
		return err
	}
	for range q.Stats().Queued {
		rec, err := r.Next(ctx)
		if err != nil {
			return err
		}
		f(rec.Data)
		if err := r.Confirm(rec.Seq); err != nil {
			return err
		}
	}
	if d := q.Stats().Damage; d.Found > 0 {
		fmt.Fprintf(os.Stderr, "hub/spool: damage: %+v\n", d)
	}
	return nil
}
