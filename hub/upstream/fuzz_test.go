package upstream

import (
	"bytes"
	"errors"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// Whatever answers: a message counts as delivered only if a good status came, and as handed
// over only if nothing at all came.
func FuzzReadStatus(f *testing.F) {
	for _, err := range []error{nil, errors.New("no"), hub.ErrHops} {
		f.Add(bformat.Append(nil, wire.AppendClassicStatus(nil, nil, err)))
	}
	f.Add([]byte{})
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Add([]byte("\x15\x03\x01\x00\x02\x02\x46"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		err := readStatus(bytes.NewReader(answer))
		if (err == errSilent) != (len(answer) == 0) {
			t.Errorf("%q: got %v", answer, err)
		}
		if err == nil {
			frame, frameErr := bformat.NewReader(bytes.NewReader(answer), maxAnswer).Next()
			if frameErr != nil || wire.ParseClassicStatus(frame) != nil {
				t.Errorf("%q counts as delivered", answer)
			}
		}
	})
}
