// Package human writes durations, sizes, counts and paths as people read them;
// durations and sizes as flags accept them.
package human

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is d in at most two units and without a blank, as flags take it:
// 18µs 1.1ms 340ms 2.3s 3m12s 2h4m 6d.
func Duration(d time.Duration) string {
	if d < 0 {
		return "-" + Duration(-d)
	}
	switch {
	case d == 0:
		return "0s"
	case d < 999500*time.Nanosecond:
		return strconv.FormatInt(max(1, d.Round(time.Microsecond).Microseconds()), 10) + "µs"
	case d < 9950*time.Microsecond:
		return tenths(d, time.Millisecond) + "ms"
	case d < 999500*time.Microsecond:
		return strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + "ms"
	case d < 59950*time.Millisecond:
		return tenths(d, time.Second) + "s"
	}
	return coarse(d.Round(time.Second))
}

// Took is how long something that people wait for has taken: 0.4s, 12.4s,
// 3m12s. What is less than a tenth of a second is as Duration has it.
func Took(d time.Duration) string {
	if d.Abs() < 100*time.Millisecond {
		return Duration(d.Truncate(time.Millisecond))
	}
	if d < 59950*time.Millisecond {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return coarse(d.Round(time.Second))
}

// Age is how long something has been so: 4s 12m 2h4m 6d.
func Age(d time.Duration) string {
	d = max(0, d).Truncate(time.Second)
	switch {
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	}
	return coarse(d)
}

// coarse is d, at least a minute, in whole seconds.
func coarse(d time.Duration) string {
	big, small, names := time.Minute, time.Second, "ms"
	switch {
	case d >= 24*time.Hour:
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	case d >= time.Hour:
		big, small, names = time.Hour, time.Minute, "hm"
	}
	out := strconv.Itoa(int(d/big)) + names[:1]
	if rest := int(d % big / small); rest > 0 {
		out += strconv.Itoa(rest) + names[1:]
	}
	return out
}

func tenths(d, unit time.Duration) string {
	return strings.TrimSuffix(strconv.FormatFloat(float64(d)/float64(unit), 'f', 1, 64), ".0")
}

// Size is n bytes: 37 bytes, 4.2kB, 42MB, in thousands.
func Size(n int64) string {
	if n < 1000 {
		return Count(n, "byte")
	}
	value, unit := float64(n)/1000, 0
	for value >= 999.5 && unit < len("kMGTPE")-1 {
		value /= 1000
		unit++
	}
	digits := 0
	if value < 9.95 {
		digits = 1
	}
	text := strconv.FormatFloat(value, 'f', digits, 64)
	if digits > 0 {
		text = strings.TrimSuffix(text, ".0")
	}
	return text + "kMGTPE"[unit:unit+1] + "B"
}

// Count is n things: 1 call, 3 calls.
func Count[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.FormatInt(int64(n), 10) + " " + thing + "s"
}

// Tilde shortens a path below the user's home folder to ~.
func Tilde(path, home string) string {
	if home == "" || home == "/" {
		return path
	}
	if path == home {
		return "~"
	}
	if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(home, "/")+"/"); ok {
		return "~/" + rest
	}
	return path
}
