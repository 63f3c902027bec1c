package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/besterhub/bester/hub/spool/compare/load"
	"github.com/besterhub/bester/hub/spool/internal/loopfs"
	"golang.org/x/sys/unix"
)

// A contender is a server under test: it keeps records, as a process of its own.
type contender interface {
	name() string
	program() string
	version() (string, error)
	// start starts the process on a folder, which may hold records of an earlier run.
	start(dir string) error
	// load appends records and returns how it went, also after an error.
	load(load.Load) (load.Result, error)
	// drain reads and releases all that is kept.
	drain() error
	// records hands out what is kept, in order.
	records(f func(data []byte)) error
	resident() (uint64, error)
	kill()
	stop() error
}

func contenders() []contender {
	return []contender{&spoolProcess{within: true}, &spoolProcess{}, &natsServer{}, &natsServer{batches: true}, &mosquitto{}}
}

// A Table holds all measurements.
type Table struct {
	Folder  string          // on what the image was
	Delay   time.Duration   // by which syncs were made longer
	Sync    []time.Duration // what a sync took by itself, before each measurement
	Columns []Column        // one for each contender
}

// A Column is one contender.
type Column struct {
	Name, Version string // as its program says them
	Program       int64  // bytes of the program
	Resident      uint64 // most memory, in bytes, with 256 in flight
	Speed         []Cell // records of 128 bytes
	Lone          []Cell // records of 100 bytes, one in flight
	Killed        Killed // what kill -9 left
}

// A Cell is one measurement: the median of the rounds, by rate.
type Cell struct {
	Load    load.Load   // what was appended
	Result  load.Result // of the median round
	Rates   []float64   // records/s in each round
	Written float64     // bytes written to the device for each byte of the records
	Again   float64     // the same when all was read, and as much was appended again; with many in flight
}

// A Killed is what was there after kill -9 in the midst of a load.
type Killed struct {
	Acknowledged, There int // records: acknowledged, and of these found again
	Kept                int // with those whose acknowledgement was on its way
}

type measurement struct {
	fs     *loopfs.FS
	only   string
	each   time.Duration
	every  time.Duration
	rounds int
	dirs   int
	table  Table
}

// all measures everything. Each round goes through all contenders, so that other load
// on the machine affects them alike.
func (m *measurement) all() (*Table, error) {
	list := slices.DeleteFunc(contenders(), func(c contender) bool { return !strings.Contains(c.name(), m.only) })
	if len(list) == 0 {
		return nil, fmt.Errorf("nothing has %q in its name", m.only)
	}
	t := &m.table
	t.Folder, t.Delay = m.fs.Dir, delay
	for _, c := range list {
		v, err := c.version()
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(c.program())
		if err != nil {
			return nil, err
		}
		t.Columns = append(t.Columns, Column{Name: c.name(), Version: v, Program: info.Size()})
	}
	speed := []load.Load{{Flight: 1, Size: 128, For: m.each}, {Flight: 64, Size: 128, For: m.each}, {Flight: 256, Size: 128, For: m.each}}
	lone := []load.Load{
		{Flight: 1, Size: 100, Count: 5000, For: 5 * m.each},
		{Flight: 1, Size: 100, Count: max(10, int(10*time.Second/m.every)), Every: m.every},
	}
	for _, l := range speed {
		if err := m.rows(list, l, m.rounds, func(c *Column, cell Cell) { c.Speed = append(c.Speed, cell) }); err != nil {
			return nil, err
		}
	}
	for _, l := range lone {
		if err := m.rows(list, l, 1, func(c *Column, cell Cell) { c.Lone = append(c.Lone, cell) }); err != nil {
			return nil, err
		}
	}
	for i, c := range list {
		var err error
		if t.Columns[i].Killed, err = m.killed(c); err != nil {
			return nil, fmt.Errorf("%s: kill -9: %w", c.name(), err)
		}
	}
	return t, nil
}

// rows measures one load with all contenders.
func (m *measurement) rows(list []contender, l load.Load, rounds int, add func(*Column, Cell)) error {
	cells := make([][]Cell, len(list))
	for range rounds {
		for i, c := range list {
			cell, resident, err := m.cell(c, l)
			if err != nil {
				return fmt.Errorf("%s, %d in flight: %w", c.name(), l.Flight, err)
			}
			cells[i] = append(cells[i], cell)
			col := &m.table.Columns[i]
			col.Resident = max(col.Resident, resident)
		}
	}
	for i := range list {
		slices.SortFunc(cells[i], func(a, b Cell) int { return cmp.Compare(a.Result.Rate(), b.Result.Rate()) })
		median := cells[i][len(cells[i])/2]
		for _, c := range cells[i] {
			median.Rates = append(median.Rates, c.Result.Rate())
		}
		add(&m.table.Columns[i], median)
	}
	return nil
}

// cell measures one load with one contender, in a folder of its own.
func (m *measurement) cell(c contender, l load.Load) (cell Cell, resident uint64, err error) {
	took, err := m.sync()
	if err != nil {
		return cell, 0, fmt.Errorf("measuring a sync: %w", err)
	}
	m.table.Sync = append(m.table.Sync, took)
	dir := m.dir()
	defer os.RemoveAll(dir)
	if err := c.start(dir); err != nil {
		return cell, 0, err
	}
	defer c.kill()
	if _, err := c.load(load.Load{First: 1 << 32, Flight: 1, Size: l.Size, Count: 1}); err != nil { // makes its files
		return cell, 0, err
	}
	cell.Load = l
	if cell.Result, cell.Written, err = m.written(c, l); err != nil {
		return cell, 0, err
	}
	if l.Flight > 1 {
		if err := c.drain(); err != nil {
			return cell, 0, fmt.Errorf("reading all: %w", err)
		}
		l.First, l.Count = uint64(cell.Result.Records), cell.Result.Records
		if _, cell.Again, err = m.written(c, l); err != nil {
			return cell, 0, err
		}
	}
	if resident, err = c.resident(); err != nil {
		return cell, 0, err
	}
	return cell, resident, c.stop()
}

// written runs a load, and returns its result and the bytes written to the device for
// each of its bytes.
func (m *measurement) written(c contender, l load.Load) (load.Result, float64, error) {
	before, err := m.fs.Written()
	if err != nil {
		return load.Result{}, 0, err
	}
	r, err := c.load(l)
	if err != nil {
		return r, 0, err
	}
	after, err := m.fs.Written()
	return r, float64(after-before) / float64(max(r.Records, 1)*l.Size), err
}

// killed kills a contender in the midst of a load, starts it again and counts the
// acknowledged records that are there.
func (m *measurement) killed(c contender) (k Killed, err error) {
	if s, ok := c.(*spoolProcess); ok && s.within {
		c = &spoolProcess{} // acknowledgements must reach another process to count
	}
	dir := m.dir()
	defer os.RemoveAll(dir)
	if err := c.start(dir); err != nil {
		return k, err
	}
	var mu sync.Mutex
	acked := map[uint64]bool{}
	dead := make(chan struct{})
	time.AfterFunc(m.each, func() {
		c.kill()
		close(dead)
	})
	_, err = c.load(load.Load{Flight: 256, Size: 128, For: time.Hour, Acked: func(n uint64) {
		mu.Lock()
		acked[n] = true
		mu.Unlock()
	}})
	<-dead
	if err == nil {
		return k, errors.New("it lives")
	}
	k.Acknowledged = len(acked)
	if _, ok := c.(*spoolProcess); !ok { // its records are read without the process
		if err := c.start(dir); err != nil {
			return k, err
		}
		defer c.stop()
	}
	err = c.records(func(data []byte) {
		if len(data) == 128 {
			k.Kept++
			n := load.Number(data)
			if acked[n] {
				k.There++
				delete(acked, n)
			}
		}
	})
	return k, err
}

// dir is the name of a folder that is not there yet.
func (m *measurement) dir() string {
	m.dirs++
	return filepath.Join(m.fs.Dir, strconv.Itoa(m.dirs))
}

// sync is how long a sync takes now, in a process that is slowed down like the
// contenders.
func (m *measurement) sync() (time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	out, err := command(self, "-probe", filepath.Join(m.fs.Dir, "probe")).Output()
	if err != nil {
		return 0, err
	}
	return time.ParseDuration(strings.TrimSpace(string(out)))
}

// probeSync is the median time of overwriting a page and syncing it.
func probeSync(path string) (time.Duration, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer os.Remove(path)
	defer f.Close()
	const pages = 64
	if _, err := f.Write(make([]byte, pages*4096)); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	var took []time.Duration
	page := make([]byte, 4096)
	for i, began := 0, time.Now(); i < 1000 && time.Since(began) < 200*time.Millisecond || i < 10; i++ {
		page[0] = byte(i)
		at := time.Now()
		if _, err := f.WriteAt(page, int64(i%pages)*4096); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
