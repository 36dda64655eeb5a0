package mesh_test

import (
	"strings"
	"testing"
)

// However records and frames lie to each other, nothing that has come is left
// lying: here the end of a call shares its record with the end of a head that
// hardly fits what is read at once.
func TestWhatSharesARecordWithALargeHeadIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(echo)
	large := func(size int) string {
		return strings.TrimSuffix(head("POST", "/"), "\x00") + "\x01" + str("Large") + str(strings.Repeat("x", size))
	}
	body := string(pattern(10_000, 1))
	for _, before := range []int{0, 1000, 5000, 16 << 10, 60_000} {
		for _, size := range []int{50_000, 62_000, 65_400} {
			p := w.dialRaw(t, s.at.Addrs[0].String())
			_, _ = p.Write(join(
				frame(2, 0, hello), frame(16|theEnd, 1, large(before)),
				frame(16, 2, large(size)), frame(22|theEnd, 2, body),
			))
			for got := ""; got != body; {
				kind, call, payload, err := p.next()
				if err != nil {
					t.Fatalf("a head of %d bytes behind one of %d: %d bytes of the echo, %v", size, before, len(got), err)
				}
				if kind&^theEnd == 22 && call == 2 {
					got += payload
				}
			}
			_ = p.Close()
		}
	}
}
