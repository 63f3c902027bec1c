// Package load appends records to a contender and measures how long each
// acknowledgement takes. It is the same for all contenders.
package load

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// A Load says what to append. It ends after Count records or after For, whichever
// is first; zero is no limit, but one of the two must be set.
type Load struct {
	First  uint64        // number of the first record
	Size   int           // bytes of each record, at least 8: its number, then filling
	Flight int           // records appended and not acknowledged at any moment
	Count  int           // records
	For    time.Duration // time
	Every  time.Duration // with Flight 1: time from one append to the next; zero is at once

	// Acked is told the number of each record that was acknowledged, by many
	// goroutines; it may be nil.
	Acked func(n uint64) `json:"-"`
}

// A Result is how a load went. Latencies are until the acknowledgement, as the caller
// sees it, within 3 %.
type Result struct {
	Records  int           // acknowledged
	Took     time.Duration // from the first append to the last acknowledgement
	P50, P99 time.Duration // latencies: the median and the 99th percentile
}

// Rate is acknowledged records per second.
func (r Result) Rate() float64 { return float64(r.Records) / r.Took.Seconds() }

// Drive has Flight goroutines append one record after the other. Add returns when
// its record is acknowledged; it must not keep data. The first error ends it.
func Drive(l Load, add func(data []byte) error) (Result, error) {
	var (
		all    sync.WaitGroup
		next   atomic.Uint64
		failed atomic.Pointer[error]
		took   latencies
	)
	began := time.Now()
	for range l.Flight {
		all.Go(func() {
			data := make([]byte, l.Size)
			for i := range data {
				data[i] = byte(i)
			}
			for failed.Load() == nil {
				i := next.Add(1) - 1
				if l.Every > 0 {
					time.Sleep(time.Until(began.Add(time.Duration(i) * l.Every)))
				}
				if l.Count > 0 && i >= uint64(l.Count) || l.For > 0 && time.Since(began) >= l.For {
					break
				}
				SetNumber(data, l.First+i)
				at := time.Now()
				if err := add(data); err != nil {
					failed.CompareAndSwap(nil, &err)
					break
				}
				took.add(time.Since(at))
				if l.Acked != nil {
					l.Acked(l.First + i)
				}
			}
		})
	}
	all.Wait()
	r := Result{Records: int(took.n.Load()), Took: time.Since(began), P50: took.percentile(50), P99: took.percentile(99)}
	if err := failed.Load(); err != nil {
		return r, *err
	}
	return r, nil
}

// Number is the number of a record that Drive made.
func Number(data []byte) uint64 { return binary.LittleEndian.Uint64(data) }

// SetNumber makes it another record.
func SetNumber(data []byte, n uint64) { binary.LittleEndian.PutUint64(data, n) }
