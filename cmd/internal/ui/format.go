package ui

import (
	"math"
	"time"

	"github.com/pillion-dev/pillion/internal/human"
)

// Duration is human.Duration with the letters this stream takes.
func (t *Theme) Duration(d time.Duration) string { return t.Text(human.Duration(d)) }

// Moment is when something was or will be, seen from now: 14:02, yesterday
// 14:02, 2027-11-22. In a pipe it is RFC 3339 in UTC.
func (t *Theme) Moment(at, now time.Time) string {
	if !t.TTY {
		return Stamp(at)
	}
	at, now = at.Local(), now.Local()
	// A day is not always 24 hours, so the difference is rounded.
	switch days := dayOf(at).Sub(dayOf(now)).Hours() / 24; math.Round(days) {
	case 0:
		return at.Format("15:04")
	case 1:
		return "tomorrow " + at.Format("15:04")
	case -1:
		return "yesterday " + at.Format("15:04")
	}
	return at.Format(time.DateOnly)
}

func dayOf(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, t.Location())
}

// Stamp is a moment for machines: RFC 3339, UTC, whole seconds. Empty for the
// zero moment.
func Stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}
