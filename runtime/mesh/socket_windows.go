package mesh

import "errors"

// canTry says that a socket can be asked not to wait. Here the runtime's
// poller owns it: who writes is always the link's own goroutine.
const canTry = false

func tryRead(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func tryWrite(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
