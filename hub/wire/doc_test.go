package wire

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The frames in the package comment are the same as in the test vectors.
func TestDocumentedFrames(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var frames []string
	inFrame := false
	hexLine := regexp.MustCompile(`^//\t((?:[0-9a-f]{2} {1,2})+) +`)
	for line := range strings.Lines(string(doc)) {
		m := hexLine.FindStringSubmatch(line)
		if m == nil {
			inFrame = false
			continue
		}
		if !inFrame {
			frames, inFrame = append(frames, ""), true
		}
		frames[len(frames)-1] += strings.ReplaceAll(m[1], " ", "")
	}
	var want []string
	for _, name := range []string{"hello-handler", "handle", "answer-pass"} {
		vectors(t, "native", func(file string, v nativeVector) {
			if file == name {
				payload := unhex(t, v.Hex)
				want = append(want, hex.EncodeToString(binary.LittleEndian.AppendUint32(nil, uint32(len(payload))))+v.Hex)
			}
		})
	}
	if strings.Join(frames, "\n") != strings.Join(want, "\n") {
		t.Errorf("the package comment has\n%s\nthe vectors\n%s", strings.Join(frames, "\n"), strings.Join(want, "\n"))
	}
}
