package rpc

import (
	"context"
	"math"
	"strconv"
	"time"
)

// ParseTimeout reads a gRPC time-out: at most eight digits and a unit.
func ParseTimeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	units := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second,
		'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	unit, ok := units[s[len(s)-1]]
	if err != nil || !ok {
		return 0, false
	}
	if time.Duration(n) > math.MaxInt64/unit {
		return math.MaxInt64, true // eight digits of hours are more than there is
	}
	return time.Duration(n) * unit, true
}

// Timeout is the time left as gRPC has it, in the finest unit that its eight
// digits allow, rounded up; "" without a deadline. What the client sent does
// not say how long the call has been under way.
func Timeout(ctx context.Context) string {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ""
	}
	left := max(time.Until(deadline), 1)
	unit, letter := time.Hour, byte('H')
	for _, finer := range [...]struct {
		unit   time.Duration
		letter byte
	}{{1, 'n'}, {time.Microsecond, 'u'}, {time.Millisecond, 'm'}, {time.Second, 'S'}} {
		if (left-1)/finer.unit < 1e8-1 {
			unit, letter = finer.unit, finer.letter
			break
		}
	}
	var room [12]byte
	digits := strconv.AppendInt(room[:0], int64((left-1)/unit)+1, 10)
	return string(append(digits, letter))
}
