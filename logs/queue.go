package logs

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/pillion-dev/pillion/internal/human"
)

// maxSpare is the largest buffer kept while there is nothing to do.
const maxSpare = 64 << 10

// A queue holds whole records between the app and the disk. It is not safe for
// concurrent use. When it is full, records are dropped and counted.
type queue struct {
	limit  int
	buf    []byte
	out    []byte // what the disk is writing
	spare  []byte
	taken  int // bytes given to the disk and not yet written
	lost   loss
	inGap  bool  // records are being dropped
	total  int64 // lines lost since the beginning
	reason string
}

// A loss is what a gap is about.
type loss struct {
	lines, bytes int64
}

// put appends a record, or drops it if there is no room. text holds no
// newline.
func (q *queue) put(stamp []byte, letter byte, text []byte) {
	need := headSize + len(text) + 1
	if q.inGap {
		need += 2 * headSize // about the size of the gap's own record
	}
	if len(q.buf)+q.taken+need > q.limit {
		q.drop(letter, len(text))
		return
	}
	q.sayGap(stamp)
	if len(q.buf)+need > cap(q.buf) { // append alone would copy a burst many times
		q.buf = slices.Grow(q.buf, max(need, cap(q.buf)))
	}
	q.buf = appendRecord(q.buf, stamp, letter, text)
}

// drop counts a record that is not kept.
func (q *queue) drop(letter byte, size int) {
	q.inGap = true
	q.lost.bytes += int64(size)
	if letter >= 'a' {
		q.lost.lines++
		q.lost.bytes++ // its newline
		q.total++
	}
}

// sayGap writes what was dropped into the log, where it is missing.
func (q *queue) sayGap(stamp []byte) {
	if !q.inGap {
		return
	}
	reason := q.reason
	if reason == "" {
		reason = "the disk could not keep up"
	}
	what := human.Count(q.lost.lines, "line")
	if q.lost.lines == 0 {
		what = "part of a line"
	}
	text := fmt.Sprintf("%s (%s) not kept: %s", what, human.Count(q.lost.bytes, "byte"), reason)
	q.lost, q.inGap = loss{}, false
	q.buf = appendRecord(q.buf, stamp, byte(Gap), []byte(text))
}

// take hands everything over to the disk. written must be called for it.
func (q *queue) take() []byte {
	q.out, q.taken = q.buf, len(q.buf)
	q.buf, q.spare = q.spare, nil
	return q.out
}

// written says what is left of the bytes taken. Once nothing is, a small
// buffer is used again; a large one was for a burst.
func (q *queue) written(left int) {
	q.taken = left
	if left > 0 {
		return
	}
	if cap(q.out) <= maxSpare {
		q.spare = q.out[:0]
	}
	q.out = nil
}

// A splitter makes records of one stream's bytes. It is an io.Writer that
// never fails and waits for nothing but other writers of the same run.
type splitter struct {
	run    *Run
	stream Stream

	// Guarded by run.mu.
	part  []byte    // the beginning of a line without its end
	since time.Time // when the first byte of part came
}

// Write keeps p. It always returns len(p) and nil.
func (s *splitter) Write(p []byte) (int, error) {
	s.run.mu.Lock()
	if !s.run.closed {
		s.split(p, s.run.now())
	}
	s.run.mu.Unlock()
	s.run.signal()
	return len(p), nil
}

func (s *splitter) split(p []byte, now time.Time) {
	var space [stampSize]byte
	stamp := appendStamp(space[:0], now)
	for len(p) > 0 {
		line, rest, ended := cutLine(p)
		for len(s.part)+len(line) > maxPiece {
			room := maxPiece - len(s.part)
			s.emit(stamp, s.stream.more(), line[:room])
			line = line[room:]
		}
		if ended {
			s.emit(stamp, byte(s.stream), line)
		} else {
			if len(s.part) == 0 {
				s.since = now
			}
			s.part = append(s.part, line...)
		}
		p = rest
	}
}

// emit queues what is held and text as one record.
func (s *splitter) emit(stamp []byte, letter byte, text []byte) {
	if len(s.part) > 0 {
		text = append(s.part, text...)
		s.part = text[:0]
	}
	if s.stream == TTY && letter == byte(TTY) && len(text) > 0 && text[len(text)-1] == '\r' {
		text = text[:len(text)-1] // the terminal's, not the app's
	}
	s.run.queue.put(stamp, letter, text)
	if cap(s.part) > 4<<10 {
		s.part = nil // a long line must not cost memory for ever
	}
}

// flush queues what is held without waiting for its newline. At the end of the
// run the line counts as whole.
func (s *splitter) flush(now time.Time, end bool) {
	if len(s.part) == 0 {
		return
	}
	var space [stampSize]byte
	letter := s.stream.more()
	if end {
		letter = byte(s.stream)
	}
	s.emit(appendStamp(space[:0], now), letter, nil)
}

// cutLine splits p behind its first newline and says whether there is one.
func cutLine(p []byte) (line, rest []byte, ended bool) {
	return bytes.Cut(p, []byte{'\n'})
}
