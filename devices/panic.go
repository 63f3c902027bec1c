package devices

import (
	"fmt"
	"runtime/debug"
)

// A panicError is the error of a read in which the driver panicked.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string {
	return fmt.Sprintf("the driver has a bug: it panicked: %v", e.value)
}

// recoverRead makes an error of a panic. It is deferred by what calls a driver.
func recoverRead(err *error) {
	if p := recover(); p != nil {
		*err = &panicError{p, debug.Stack()}
	}
}
