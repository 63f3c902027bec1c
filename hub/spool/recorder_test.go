package spool

import (
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// recorder is a disk in memory that notes all that is done to it, so that what
// a power cut may leave can be built from that. It can also fail and be slow.
type recorder struct {
	mu       sync.Mutex
	names    map[string]*inode
	ops      []op
	note     bool                                 // ops are kept
	deaf     func(name string) bool               // syncs of such files are not carried out: what the test must notice
	deafDir  bool                                 // nor those of the folder
	fault    func(kind opKind, name string) error // asked before each change; nil is none
	syncTime time.Duration
	wait     func(time.Duration) // how
	locked   bool
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
			return err
		}
	}
	if d.note {
		d.ops = append(d.ops, o)
	}
	return nil
}

// event notes something that happened in the program at this point.
func (d *recorder) event(e any) {
	d.mu.Lock()
	d.ops = append(d.ops, op{kind: opEvent, event: e})
	d.mu.Unlock()
}

func (d *recorder) Lock() (io.Closer, error) {
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
	if d.deafDir {
		return nil
	}
	return d.do(op{kind: opDir}, ".")
}

type recorded struct {
	d *recorder
	n *inode
}

// nap is a wait that is exact below a millisecond, too; in a bubble of
// synctest, time.Sleep is.
func nap(d time.Duration) {
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
	f.n.data = grown(f.n.data, off+int64(len(b)))
	copy(f.n.data[off:], b)
	return len(b), nil
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
	if f.d.deaf != nil && f.d.deaf(f.n.name) {
		return nil
	}
	return f.d.do(op{kind: opSync, node: f.n}, f.n.name)
}

// A card is what is on a card, and what was asked of it and may be there or not.
type card struct {
	names   map[string]*inode
	changes []op // of names, not synced
	files   map[*inode]*stored
}

type stored struct {
	data    []byte
	pending []op // writes and truncations, not synced
}

func newCard(image map[string][]byte) (*card, *recorder) {
	c := &card{names: map[string]*inode{}, files: map[*inode]*stored{}}
	d := newRecorder()
	for name, data := range image {
		n := &inode{name: name, data: slices.Clone(data)}
		c.names[name], d.names[name] = n, n
		c.files[n] = &stored{data: slices.Clone(data)}
	}
	return c, d
}

// take lets the card see one operation.
func (c *card) take(o op) {
	switch o.kind {
	case opCreate:
		c.files[o.node] = &stored{}
		c.changes = append(c.changes, o)
	case opRename, opRemove:
		c.changes = append(c.changes, o)
	case opWrite, opCut:
		f := c.files[o.node]
		f.pending = append(f.pending, o)
	case opSync:
		f := c.files[o.node]
		for _, w := range f.pending {
			f.data = apply(f.data, w)
		}
		f.pending = nil
	case opDir:
		for _, o := range c.changes {
			change(c.names, o)
		}
		c.changes = nil
	}
}

func apply(b []byte, o op) []byte {
	if o.kind == opCut {
		return grown(b, o.off)[:o.off]
	}
	b = grown(b, o.off+int64(len(o.data)))
	copy(b[o.off:], o.data)
	return b
}

func change(names map[string]*inode, o op) {
	switch o.kind {
	case opCreate:
		names[o.to] = o.node
	case opRename:
		names[o.to] = names[o.from]
		delete(names, o.from)
	case opRemove:
		delete(names, o.from)
	}
}

// cut returns one of the states that a power cut now may leave. Changes of names
// are kept in order, as journals do; what was written to files and not synced may
// be there, or not, or torn at sectors of 512 bytes, in any order; blocks that a
// file got anew may be zeros or what they held before.
func (c *card) cut(rng *rand.Rand) map[string][]byte {
	names := maps.Clone(c.names)
	for _, o := range c.changes[:rng.IntN(len(c.changes)+1)] {
		change(names, o)
	}
	image := map[string][]byte{}
	for name, n := range names {
		image[name] = c.files[n].after(rng)
	}
	return image
}

func (f *stored) after(rng *rand.Rand) []byte {
	const sector = 512
	data := slices.Clone(f.data)
	if len(f.pending) == 0 {
		return data
	}
	mode := rng.IntN(6)
	part := rng.IntN(len(f.pending) + 1)
	fresh := len(data) // behind this, blocks are new
	for i, o := range f.pending {
		if o.kind == opCut {
			if mode != 0 && rng.IntN(2) == 0 {
				data = apply(data, o)
			}
			continue
		}
		for at := int64(0); at < int64(len(o.data)); {
			end := min(int64(len(o.data)), (o.off+at)/sector*sector+sector-o.off)
			there := false
			switch mode {
			case 0: // nothing
			case 1: // all
				there = true
			case 2: // what was written first
				there = i < part
			case 3: // what was written last
				there = i >= part
			default: // any sectors
				there = rng.IntN(2) == 0
			}
			if there {
				data = apply(data, op{off: o.off + at, data: o.data[at:end]})
			} else if mode == 5 && o.off+end > int64(fresh) && rng.IntN(2) == 0 {
				b := make([]byte, end-at) // a new block, with what it held before
				for j := range b {
					b[j] = byte(rng.Uint32())
				}
				if len(f.data) > dataStart+len(b) {
					copy(b, f.data[dataStart:])
				}
				data = apply(data, op{off: o.off + at, data: b})
			}
			at = end
		}
	}
	if mode > 1 && len(data) > fresh && rng.IntN(4) == 0 {
		data = data[:fresh+rng.IntN((len(data)-fresh)/sector+1)*sector]
	}
	return data
}
