package spool

import (
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A recorder is a disk in memory that records all operations, so that the states
// after a power cut can be built from them. It can also fail and be slow.
type recorder struct {
	mu            sync.Mutex
	names         map[string]*inode
	ops           []op
	note          bool                                 // ops are recorded
	ignoreSync    func(name string) bool               // syncs of these files are ignored, which the test must notice
	ignoreDirSync func(last op) bool                   // so are those of the folder after this change of names
	last          op                                   // the last change of names
	watch         func(op)                             // told of each operation before it is noted; under mu
	fault         func(kind opKind, name string) error // asked before each change; nil is none
	capacity      int64                                // bytes that all files may take together; 0 is no bound
	syncTime      time.Duration
	wait          func(time.Duration) // how
	locked        bool
}

type inode struct {
	name string // the last it had
	data []byte
}

type opKind string

const (
	opCreate opKind = "create"
	opWrite  opKind = "write"
	opCut    opKind = "truncate"
	opSync   opKind = "sync"
	opFailed opKind = "failed sync"
	opRename opKind = "rename"
	opRemove opKind = "remove"
	opDir    opKind = "sync folder"
	opEvent  opKind = "event"
)

type op struct {
	kind     opKind
	node     *inode
	off      int64
	data     []byte
	from, to string
	event    any
}

func newRecorder() *recorder {
	return &recorder{names: map[string]*inode{}, note: true, wait: time.Sleep}
}

func (d *recorder) do(o op, name string) error {
	if d.fault != nil {
		if err := d.fault(o.kind, name); err != nil {
			if o.kind == opSync && d.note {
				d.ops = append(d.ops, op{kind: opFailed, node: o.node})
			}
			return err
		}
	}
	if o.kind == opCreate || o.kind == opRename || o.kind == opRemove {
		d.last = o
	}
	if d.note {
		if d.watch != nil {
			d.watch(o)
		}
		d.ops = append(d.ops, o)
	}
	return nil
}

// event records an event of the program at this point.
func (d *recorder) event(e any) {
	d.mu.Lock()
	d.ops = append(d.ops, op{kind: opEvent, event: e})
	d.mu.Unlock()
}

func (d *recorder) Lock() (lock, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked {
		return nil, ErrLocked
	}
	if d.fault != nil {
		if err := d.fault(opCreate, "."); err != nil {
			return nil, err
		}
	}
	d.locked = true
	return closer(func() { d.mu.Lock(); d.locked = false; d.mu.Unlock() }), nil
}

type closer func()

func (c closer) Close() error { c(); return nil }
func (c closer) Held() bool   { return true }
func (c closer) Linked() bool { return true }

func (d *recorder) Device() (uint64, error) { return 0, nil }

func (d *recorder) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.names)), nil
}

func (d *recorder) Open(name string, write, create bool) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[name]
	if n == nil {
		if !create {
			return nil, fs.ErrNotExist
		}
		n = &inode{name: name}
		if err := d.do(op{kind: opCreate, node: n, to: name}, name); err != nil {
			return nil, err
		}
		d.names[name] = n
	}
	return &recorded{d, n}, nil
}

func (d *recorder) Same(name string, f file) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names[name] == f.(*recorded).n
}

func (d *recorder) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[from]
	if n == nil {
		return fs.ErrNotExist
	}
	if err := d.do(op{kind: opRename, from: from, to: to}, from); err != nil {
		return err
	}
	delete(d.names, from)
	d.names[to], n.name = n, to
	return nil
}

func (d *recorder) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] == nil {
		return fs.ErrNotExist
	}
	if err := d.do(op{kind: opRemove, from: name}, name); err != nil {
		return err
	}
	delete(d.names, name)
	return nil
}

func (d *recorder) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ignoreDirSync != nil && d.ignoreDirSync(d.last) {
		return nil
	}
	return d.do(op{kind: opDir}, ".")
}

type recorded struct {
	d *recorder
	n *inode
}

// sleepExact waits exactly, even below a millisecond. In a synctest bubble,
// time.Sleep is exact.
func sleepExact(d time.Duration) {
	t := unix.NsecToTimespec(d.Nanoseconds())
	unix.Nanosleep(&t, nil)
}

func (f *recorded) Linked() bool { return true }

func (f *recorded) Close() error { return nil }

func (f *recorded) ReadAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *recorded) WriteAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.do(op{kind: opWrite, node: f.n, off: off, data: f.d.copy(b)}, f.n.name); err != nil {
		return 0, err
	}
	if f.d.capacity > 0 && f.d.used()+off+int64(len(b))-int64(len(f.n.data)) > f.d.capacity {
		return 0, unix.ENOSPC
	}
	f.n.data = grown(f.n.data, off+int64(len(b)))
	copy(f.n.data[off:], b)
	return len(b), nil
}

func (d *recorder) used() (n int64) {
	for _, f := range d.names {
		n += int64(len(f.data))
	}
	return n
}

func (d *recorder) copy(b []byte) []byte {
	if !d.note {
		return nil
	}
	return slices.Clone(b)
}

func grown(b []byte, n int64) []byte {
	if d := n - int64(len(b)); d > 0 {
		b = append(b, make([]byte, d)...)
	}
	return b
}

func (f *recorded) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.do(op{kind: opCut, node: f.n, off: size}, f.n.name); err != nil {
		return err
	}
	f.n.data = grown(f.n.data, size)[:size]
	return nil
}

// Allocate changes nothing that can be read, before or after a power cut.
func (f *recorded) Allocate(int64, int64) error { return nil }

func (f *recorded) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.n.data)), nil
}

func (f *recorded) Sync() error {
	if f.d.syncTime > 0 {
		f.d.wait(f.d.syncTime)
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.ignoreSync != nil && f.d.ignoreSync(f.n.name) {
		return nil
	}
	return f.d.do(op{kind: opSync, node: f.n}, f.n.name)
}
