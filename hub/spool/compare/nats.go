package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/besterhub/bester/hub/spool/compare/load"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsServer is nats-server with a JetStream file store that syncs each record. With
// batches, as many records as would be in flight are committed together, and the
// caller waits for them (atomic batch publishing).
type natsServer struct {
	batches bool

	*process
	conn   *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	gone   chan struct{} // the connection is
	batch  atomic.Uint64
}

func (s *natsServer) name() string {
	if s.batches {
		return "nats-server, batches"
	}
	return "nats-server"
}

func (s *natsServer) program() string { return siblingPath("nats-server") }

func (s *natsServer) version() (string, error) {
	out, err := exec.Command(s.program(), "-v").Output()
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "nats-server: "), err
}

func (s *natsServer) start(dir string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	config := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("listen: \"127.0.0.1:%d\"\njetstream {\n  store_dir: %q\n  sync_interval: always\n}\n", port, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	p, err := start(command(s.program(), "-c", config))
	if err != nil {
		return err
	}
	*s = natsServer{batches: s.batches, process: p, gone: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return p.await("nats-server", func() error {
		if s.conn == nil {
			gone := s.gone
			conn, err := nats.Connect("127.0.0.1:"+strconv.Itoa(port), nats.NoReconnect(),
				nats.ClosedHandler(func(*nats.Conn) { close(gone) }))
			if err != nil {
				return err
			}
			s.conn = conn
		}
		if s.js, err = jetstream.New(s.conn, jetstream.WithPublishAsyncMaxPending(1<<16)); err != nil {
			return err
		}
		s.stream, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: "records", Subjects: []string{"record"}, Storage: jetstream.FileStorage, AllowAtomicPublish: s.batches,
		})
		return err
	})
}

func (s *natsServer) load(l load.Load) (load.Result, error) {
	if !s.batches || l.Flight == 1 {
		return load.Drive(l, s.append)
	}
	return s.loadBatches(l)
}

func (s *natsServer) append(data []byte) error {
	ack, err := s.js.PublishAsync("record", data)
	if err != nil {
		return err
	}
	select {
	case <-ack.Ok():
		return nil
	case err := <-ack.Err():
		return err
	case <-s.gone:
		return errGone
	}
}

// loadBatches appends batch after batch. The latency of each record is that of its
// batch.
func (s *natsServer) loadBatches(l load.Load) (load.Result, error) {
	batch := l
	batch.Flight, batch.Count, batch.Acked = 1, (l.Count+l.Flight-1)/l.Flight, nil
	n := l.First
	data := make([]byte, l.Size)
	r, err := load.Drive(batch, func(filling []byte) error {
		copy(data, filling)
		id := fmt.Sprint("b", s.batch.Add(1))
		for i := 1; i <= l.Flight; i++ {
			load.SetNumber(data, n)
			n++
			m := &nats.Msg{Subject: "record", Data: data, Header: nats.Header{
				"Nats-Batch-Id": {id}, "Nats-Batch-Sequence": {strconv.Itoa(i)}}}
			if i < l.Flight {
				if err := s.conn.PublishMsg(m); err != nil {
					return err
				}
				continue
			}
			m.Header.Set("Nats-Batch-Commit", "1")
			if _, err := s.js.PublishMsg(context.Background(), m); err != nil {
				return err
			}
		}
		if l.Acked != nil {
			for i := range uint64(l.Flight) {
				l.Acked(n - uint64(l.Flight) + i)
			}
		}
		return nil
	})
	r.Records *= l.Flight
	return r, err
}

func (s *natsServer) kill() {
	s.process.kill()
	s.conn.Close()
}

func (s *natsServer) stop() error {
	s.conn.Close()
	return s.process.stop()
}

func (s *natsServer) drain() error { return s.stream.Purge(context.Background()) }

// records makes the server hand out what it keeps.
func (s *natsServer) records(f func(data []byte)) error {
	ctx := context.Background()
	info, err := s.stream.Info(ctx)
	if err != nil || info.State.Msgs == 0 {
		return err
	}
	c, err := s.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	all, err := c.Messages()
	if err != nil {
		return err
	}
	defer all.Stop()
	for {
		m, err := all.Next(jetstream.NextMaxWait(20 * time.Second))
		if err != nil {
			return err
		}
		f(m.Data())
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.NumPending == 0 {
			return nil
		}
	}
}

var errGone = errors.New("the connection is gone")
