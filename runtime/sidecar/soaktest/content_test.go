package soaktest_test

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// mixedUp is what an app says that got bytes of another call.
const mixedUp = "MIXED UP"

// blockSize is how many bytes carry the call's ID and their own place.
const blockSize = 64

// content is a body of n bytes that no other call has, and in which no part is
// like another one.
func content(id string, n int) []byte {
	data := make([]byte, 0, n+blockSize)
	for i := 0; len(data) < n; i++ {
		end := len(data) + blockSize
		data = append(append(data, id...), ' ')
		data = strconv.AppendInt(data, int64(i), 10)
		for len(data) < end-1 {
			data = append(data, '.')
		}
		data = append(data, '\n')
	}
	return data[:n]
}

// compare reads r to its end and says whether that was want, or at least its
// beginning.
func compare(r io.Reader, want []byte) (whole bool, err error) {
	got, err := io.ReadAll(r)
	switch {
	case !bytes.HasPrefix(want, got):
		return false, fmt.Errorf("%s: got %d bytes that are not the beginning of the %d of %.40q: %.200q",
			mixedUp, len(got), len(want), want, got)
	case err == nil && len(got) < len(want):
		return false, fmt.Errorf("%s: %d bytes of %d, and an end as if that were all", mixedUp, len(got), len(want))
	}
	return err == nil, nil
}
