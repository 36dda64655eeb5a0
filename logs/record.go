package logs

import (
	"time"
)

const (
	stampLayout = "2006-01-02T15:04:05.000000Z"
	stampSize   = len(stampLayout)
	letterAt    = stampSize + 1
	headSize    = stampSize + 3 // a blank, the letter, a blank

	// maxPiece is the longest text of one record. A longer line is several.
	maxPiece = 64 << 10
	// maxRecord is the longest record without its newline.
	maxRecord = headSize + maxPiece
)

// more is the letter of a record whose line goes on.
func (s Stream) more() byte { return byte(s) - 'a' + 'A' }

// appendStamp appends t as records have it.
func appendStamp(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, stampLayout)
}

// appendRecord appends a record with its newline.
func appendRecord(b, stamp []byte, letter byte, text []byte) []byte {
	b = append(b, stamp...)
	b = append(b, ' ', letter, ' ')
	b = append(b, text...)
	return append(b, '\n')
}

// A record is one row of a segment.
type record struct {
	time   time.Time
	stream Stream
	more   bool // the line goes on in the stream's next record
	text   []byte
}

// parseRecord reads a row without its newline. It reports false if b is no
// record: somebody edited the file, or the machine crashed.
func parseRecord(b []byte) (record, bool) {
	if len(b) < headSize || b[stampSize] != ' ' || b[headSize-1] != ' ' {
		return record{}, false
	}
	letter := b[letterAt]
	more := letter >= 'A' && letter <= 'Z'
	if more {
		letter += 'a' - 'A'
	}
	if Stream(letter).number() < 0 {
		return record{}, false
	}
	t, ok := parseStamp(b[:stampSize])
	return record{time: t, stream: Stream(letter), more: more, text: b[headSize:]}, ok
}

// parseStamp reads what appendStamp wrote. It is not time.Parse because a
// search reads millions of them.
func parseStamp(b []byte) (time.Time, bool) {
	for i, c := range []byte(stampLayout) {
		if c >= '0' && c <= '9' {
			if b[i] < '0' || b[i] > '9' {
				return time.Time{}, false
			}
		} else if b[i] != c {
			return time.Time{}, false
		}
	}
	number := func(from, to int) int {
		n := 0
		for _, c := range b[from:to] {
			n = n*10 + int(c-'0')
		}
		return n
	}
	month, day := number(5, 7), number(8, 10)
	hour, minute, second := number(11, 13), number(14, 16), number(17, 19)
	if month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 {
		return time.Time{}, false
	}
	return time.Date(number(0, 4), time.Month(month), day, hour, minute, second,
		number(20, 26)*1000, time.UTC), true
}
