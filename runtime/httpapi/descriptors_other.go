//go:build !unix

package httpapi

// descriptorShare bounds the connections where the system does not bound
// descriptors.
func descriptorShare() int { return 16 << 10 }
