package logs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/pillion-dev/pillion/internal/human"
)

const (
	firstBuffer = 16 << 10
	// maxJoined is about the longest text given out as one Line.
	maxJoined = 1 << 20
)

// A position is a place in a run. The zero position is its beginning.
type position struct {
	segment int
	offset  int64
}

// A cursor reads the lines of one run in the order they were written. It keeps
// one segment open and at most a record and the beginnings of lines in memory.
type cursor struct {
	run RunInfo
	// limit is where to stop; nil: nowhere.
	limit *position
	// final means that nothing more will be written.
	final bool
	// complete means that it began at the run's beginning, so what is missing
	// there was dropped.
	complete bool

	at         position // of the next byte to be read from the file
	file       *os.File
	buf        []byte
	start, end int   // of what was read and not yet given out
	sealed     bool  // the next segment exists: this one does not grow
	lines      int64 // whole records before buf[start]; wrong without an index
	joins      [8]join
	ready      []Line // to be given out before anything is read
	last       record
}

// A join is the beginning of a line whose end has not been read.
type join struct {
	text      []byte
	time      time.Time
	continued bool // a part of the line was given out already
	begun     bool
}

// seek makes c go on at a mark of the index.
func (c *cursor) seek(b block) {
	c.close()
	c.at, c.lines = b.from, b.lines
	c.start, c.end, c.sealed = 0, 0, false
	c.complete = b.first
}

// next returns the next line, or false if there is none now. The line is valid
// until the next call.
func (c *cursor) next() (Line, bool, error) {
	for {
		if len(c.ready) > 0 {
			l := c.ready[0]
			c.ready = c.ready[1:]
			return l, true, nil
		}
		row, ok, err := c.row()
		if err != nil {
			return Line{}, false, fmt.Errorf("read run %d of %s: %w", c.run.Run, c.run.App, err)
		}
		if len(c.ready) > 0 {
			continue // a gap, before any row
		}
		if !ok {
			return Line{}, false, nil
		}
		rec, valid := parseRecord(row)
		if !valid { // it belongs, as well as anybody can tell, to the one before
			rec = record{time: c.last.time, stream: cmp.Or(c.last.stream, Stdout), text: row}
		}
		c.last = rec
		if l, ok := c.join(rec); ok {
			return l, true, nil
		}
	}
}

// join returns the line that rec completes, if it does.
func (c *cursor) join(rec record) (Line, bool) {
	if !rec.more {
		c.lines++
	}
	if rec.stream == Gap {
		c.release(false)
		c.ready = append(c.ready, c.line(rec.time, Gap, rec.text))
		return Line{}, false
	}
	j := &c.joins[rec.stream.number()]
	if !j.begun && !rec.more {
		return c.line(rec.time, rec.stream, rec.text), true
	}
	j.begun, j.time = true, rec.time
	j.text = append(j.text, rec.text...)
	if rec.more && len(j.text) < maxJoined {
		return Line{}, false
	}
	return c.give(j, rec.stream, rec.more), true
}

// give makes a Line of what is held in j.
func (c *cursor) give(j *join, stream Stream, more bool) Line {
	text := j.text
	if stream == TTY && !more {
		text = bytes.TrimSuffix(text, []byte{'\r'})
	}
	l := c.line(j.time, stream, text)
	l.Continues, l.Continued = more, j.continued
	j.text = j.text[:0] // l's until the next call
	j.continued, j.begun = more, more
	return l
}

// release gives out what is held of lines without an end. If more may come,
// they continue; otherwise they count as whole.
func (c *cursor) release(more bool) {
	for i := range c.joins {
		if j := &c.joins[i]; j.begun && (len(j.text) > 0 || !more && !j.continued) {
			c.ready = append(c.ready, c.give(j, streams[i], more))
		} else if !more {
			j.begun, j.continued = false, false
		}
	}
}

func (c *cursor) line(t time.Time, stream Stream, text []byte) Line {
	return Line{
		Time: t, App: c.run.App, Namespace: c.run.Namespace, Instance: c.run.Instance, Run: c.run.Run,
		Stream: stream, Text: text,
	}
}

// row returns the next row without its newline, or false if there is none now
// or a gap has become ready before it.
func (c *cursor) row() ([]byte, bool, error) {
	for len(c.ready) == 0 {
		if i := bytes.IndexByte(c.buf[c.start:c.end], '\n'); i >= 0 {
			row := c.buf[c.start : c.start+i]
			c.start += i + 1
			return row, true, nil
		}
		if c.end-c.start > maxRecord { // no record is that long
			return c.rest(), true, nil
		}
		more, err := c.more()
		if err != nil {
			return nil, false, err
		}
		if !more {
			if !c.final || c.start == c.end {
				return nil, false, nil
			}
			return c.rest(), true, nil // torn
		}
	}
	return nil, false, nil
}

// more reads on, in the next segment if need be.
func (c *cursor) more() (bool, error) {
	n, err := c.fill()
	if n > 0 || err != nil {
		return n > 0, err
	}
	return c.turn()
}

// rest takes all that was read.
func (c *cursor) rest() []byte {
	row := c.buf[c.start:c.end]
	c.start = c.end
	return row
}

// fill reads more of the present segment. 0 means that it has no more.
func (c *cursor) fill() (int, error) {
	if c.file == nil {
		if err := c.open(); err != nil || c.file == nil {
			return 0, err
		}
	}
	if c.start > 0 {
		c.end = copy(c.buf, c.buf[c.start:c.end])
		c.start = 0
	}
	if c.end == len(c.buf) {
		grown := make([]byte, max(firstBuffer, 2*len(c.buf)))
		copy(grown, c.buf)
		c.buf = grown
	}
	room := c.buf[c.end:]
	if c.limit != nil && c.at.segment == c.limit.segment {
		room = room[:max(0, min(int64(len(room)), c.limit.offset-c.at.offset))]
	}
	if len(room) == 0 {
		return 0, nil
	}
	n, err := c.file.ReadAt(room, c.at.offset)
	c.end += n
	c.at.offset += int64(n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// open opens the present segment. One that was dropped is left closed.
func (c *cursor) open() error {
	if c.at.segment == 0 {
		return nil
	}
	f, err := os.Open(segmentPath(c.run.dir, c.at.segment, logExt))
	if errors.Is(err, fs.ErrNotExist) {
		c.sealed = true
		return nil
	}
	c.file = f
	return err
}

// turn goes on to the next segment, if there is one. A segment is read to its
// end once more after the next one was seen: only then nothing is added to it.
func (c *cursor) turn() (bool, error) {
	if c.limit != nil && c.at.segment >= c.limit.segment {
		return false, nil
	}
	numbers, err := segmentNumbers(c.run.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // dropped whole
	}
	if err != nil {
		return false, err
	}
	next := 0
	for _, n := range numbers {
		if n > c.at.segment {
			next = n
			break
		}
	}
	if next == 0 || c.limit != nil && next > c.limit.segment {
		return false, nil
	}
	if c.at.segment > 0 && !c.sealed {
		c.sealed = true
		return true, nil
	}
	c.missing(next)
	c.close()
	if c.start < c.end { // a torn record, which only a crash can leave
		c.start = c.end
	}
	c.at, c.sealed = position{segment: next}, false
	return true, nil
}

// missing puts a gap where segments were dropped before they could be read.
func (c *cursor) missing(next int) {
	if next == c.at.segment+1 || c.at.segment == 0 && !c.complete {
		return
	}
	c.release(false)
	first := readIndex(c.run.dir, next)[0]
	if first.lines == 0 && !first.time.IsZero() {
		c.lines = 0
		return // the run began anew here, and says why
	}
	what := "lines"
	if first.lines > c.lines {
		what = human.Count(first.lines-c.lines, "line")
	}
	at := first.time
	if at.IsZero() {
		at = c.run.Start
	}
	c.lines = first.lines
	c.ready = append(c.ready, c.line(at, Gap, []byte(what+" dropped: the run is longer than its log may be")))
}

func (c *cursor) close() {
	if c.file != nil {
		_ = c.file.Close() // only read from
		c.file = nil
	}
}
