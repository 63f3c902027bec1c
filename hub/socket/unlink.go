package socket

import (
	"io/fs"
	"net"
	"os"
	"sync"
)

// An OwnListener is a listener on a UNIX socket that removes the socket's file when it is
// closed, but only its own: if the file was removed and another program has made one of
// that name, that stays.
type OwnListener struct {
	*net.UnixListener
	path string
	info fs.FileInfo
	once sync.Once
}

// Own returns an OwnListener of l, which has just been opened at path. It owns l, also if it
// returns an error, and has then closed it.
func Own(l *net.UnixListener, path string) (*OwnListener, error) {
	info, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	return &OwnListener{UnixListener: l, path: path, info: info}, nil
}

// Close removes the file and closes the listener.
func (l *OwnListener) Close() error {
	l.once.Do(func() {
		// The file first: who finds none is not kept waiting.
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.info) {
			os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}
