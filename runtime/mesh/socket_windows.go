package mesh

// canTry says that a socket can be asked not to wait. Here Go's poller owns it:
// who writes is always the link's own goroutine.
const canTry = false
