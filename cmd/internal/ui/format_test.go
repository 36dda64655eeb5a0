package ui

import (
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/runtime/config"
	"pgregory.net/rapid"
)

func TestFlagsParseEveryDurationWePrint(t *testing.T) {
	t.Parallel()
	pipe := NewTheme(nil, env(nil))
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(10000*time.Hour)).Draw(t, "duration"))
		for _, text := range []string{human.Duration(d), pipe.Duration(d), human.Took(d), human.Age(d)} {
			got, err := config.ParseDuration(text)
			if err != nil {
				t.Fatalf("%v is printed as %q: %v", d, text, err)
			}
			// What is printed is rounded to a tenth of its first unit, or to
			// whole days.
			if diff := (got - d).Abs(); diff > max(d/10, time.Second) && diff >= 24*time.Hour {
				t.Errorf("%v is printed as %q, which reads as %v", d, text, got)
			}
		}
	})
}

func TestMomentIsLocalOnATerminalAndUTCInAPipe(t *testing.T) {
	t.Parallel()
	p, _ := screen(t, 80)
	now := time.Date(2026, 11, 22, 15, 0, 0, 0, time.Local)
	for at, want := range map[time.Time]string{
		now.Add(-58 * time.Minute): "14:02",
		now.Add(24 * time.Hour):    "tomorrow 15:00",
		now.Add(-24 * time.Hour):   "yesterday 15:00",
		now.AddDate(1, 0, 0):       "2027-11-22",
	} {
		if got := p.Moment(at, now); got != want {
			t.Errorf("Moment(%v) = %q, want %q", at, got, want)
		}
	}
	q, _ := pipe(t)
	at := time.Date(2026, 11, 22, 14, 2, 12, 0, time.UTC)
	if got := q.Moment(at, now); got != "2026-11-22T14:02:12Z" {
		t.Errorf("in a pipe %q", got)
	}
	if Stamp(time.Time{}) != "" {
		t.Error("an unknown moment is not empty")
	}
}
