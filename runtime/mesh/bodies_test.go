package mesh_test

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A countingBody counts its reads and says whether it was closed.
type countingBody struct {
	invoke.Body
	reads  atomic.Int32
	closed atomic.Bool
}

func (b *countingBody) Read(p []byte) (int, error) {
	b.reads.Add(1)
	return b.Body.Read(p)
}

func (b *countingBody) Close() error {
	b.closed.Store(true)
	return b.Body.Close()
}

// A patternBody is n bytes that are told by their place.
type patternBody struct{ n, at int64 }

func (b *patternBody) Read(p []byte) (int, error) {
	if b.at == b.n {
		return 0, io.EOF
	}
	k := int(min(int64(len(p)), b.n-b.at))
	for i := range k {
		p[i] = patternAt(b.at + int64(i))
	}
	b.at += int64(k)
	return k, nil
}

func (*patternBody) Close() error            { return nil }
func (*patternBody) Trailers() invoke.Fields { return nil }

func patternAt(i int64) byte { return byte(i>>10) ^ byte(i) }

// checkPattern reads r to its end and compares.
func checkPattern(r io.Reader, want int64) error {
	buf := make([]byte, 32<<10)
	var at int64
	for {
		n, err := r.Read(buf)
		for i := range n {
			if buf[i] != patternAt(at+int64(i)) {
				return fmt.Errorf("byte %d is another", at+int64(i))
			}
		}
		at += int64(n)
		switch {
		case err == io.EOF && at == want:
			return nil
		case err != nil:
			return fmt.Errorf("after %d of %d bytes: %w", at, want, err)
		}
	}
}
