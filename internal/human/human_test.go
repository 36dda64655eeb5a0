package human_test

import (
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/human"
)

func TestDurationHasTwoUnitsAtMost(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0:                                  "0s",
		1:                                  "1µs",
		18 * time.Microsecond:              "18µs",
		999600 * time.Nanosecond:           "1ms",
		1100 * time.Microsecond:            "1.1ms",
		9999 * time.Microsecond:            "10ms",
		340 * time.Millisecond:             "340ms",
		999999 * time.Microsecond:          "1s",
		2300 * time.Millisecond:            "2.3s",
		10 * time.Second:                   "10s",
		59990 * time.Millisecond:           "1m",
		3*time.Minute + 12*time.Second:     "3m12s",
		59*time.Minute + 59900*1000000:     "1h",
		2*time.Hour + 4*time.Minute:        "2h4m",
		24 * time.Hour:                     "1d",
		6*24*time.Hour + 3*time.Hour + 999: "6d",
		-time.Second:                       "-1s",
	} {
		if got := human.Duration(d); got != want {
			t.Errorf("Duration(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestTookAndAge(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration][2]string{
		18 * time.Millisecond:           {"18ms", "0s"},
		380 * time.Millisecond:          {"0.4s", "0s"},
		4200 * time.Millisecond:         {"4.2s", "4s"},
		3*time.Minute + 12*time.Second:  {"3m12s", "3m"},
		2*time.Hour + 4*time.Minute + 9: {"2h4m", "2h4m"},
		-time.Second:                    {"-1.0s", "0s"},
	} {
		if got := [2]string{human.Took(d), human.Age(d)}; got != want {
			t.Errorf("%v: took and age %v, want %v", d, got, want)
		}
	}
}

func TestSizesAndCounts(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 bytes", 1: "1 byte", 37: "37 bytes", 999: "999 bytes",
		1000: "1kB", 4200: "4.2kB", 42_000_000: "42MB", 999_600: "1MB", 5_000_000_000: "5GB",
	} {
		if got := human.Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
	if got := human.Count(1, "call") + " " + human.Count(3, "call"); got != "1 call 3 calls" {
		t.Errorf("Count gives %q", got)
	}
}

func TestTildeShortensOnlyBelowTheHome(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/home/ada/shop": "~/shop", "/home/ada": "~", "/home/adam/shop": "/home/adam/shop", "/": "/",
	} {
		if got := human.Tilde(path, "/home/ada"); got != want {
			t.Errorf("Tilde(%q) = %q, want %q", path, got, want)
		}
	}
	if got := human.Tilde("/x", "/"); got != "/x" {
		t.Errorf("with / as home %q", got)
	}
}
