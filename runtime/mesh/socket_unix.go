//go:build unix

package mesh

// canTry says that a socket can be asked not to wait.
const canTry = true
