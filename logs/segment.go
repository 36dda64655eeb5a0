package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	logExt   = ".log"
	indexExt = ".idx"

	// markEvery is how many bytes lie between two marks of the index, and
	// markAtLast how many at most if no place between two whole lines is found.
	markEvery  = 64 << 10
	markAtLast = 1 << 20
	markLayout = "%s %012d %012d\n"
	markSize   = stampSize + 1 + 12 + 1 + 12 + 1
)

// A mark is a row of the index. time is the latest of the run so far, the record
// at offset included: it never goes back, though clocks do. lines is how many
// lines of the run were complete before.
type mark struct {
	time   time.Time
	offset int64
	lines  int64
}

// segmentPath is the path of a segment or of its index.
func segmentPath(dir string, n int, ext string) string {
	return filepath.Join(dir, fmt.Sprintf("%06d%s", n, ext))
}

// segmentNumbers lists the segments in dir, oldest first.
func segmentNumbers(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), logExt)
		if n, err := strconv.Atoi(name); ok && err == nil && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// readIndex reads the marks of a segment. Without a readable index there is
// the one mark that needs none: the beginning.
func readIndex(dir string, n int) []mark {
	data, err := os.ReadFile(segmentPath(dir, n, indexExt))
	if err != nil {
		return []mark{{}}
	}
	var marks []mark
	for ; len(data) >= markSize; data = data[markSize:] {
		m, ok := parseMark(data[:markSize])
		if !ok {
			break
		}
		marks = append(marks, m)
	}
	if len(marks) == 0 || marks[0].offset != 0 {
		return []mark{{}}
	}
	return marks
}

func parseMark(b []byte) (mark, bool) {
	t, ok := parseStamp(b[:stampSize])
	fields := strings.Fields(string(b[stampSize:]))
	if !ok || len(fields) != 2 || b[len(b)-1] != '\n' {
		return mark{}, false
	}
	offset, err1 := strconv.ParseInt(fields[0], 10, 64)
	lines, err2 := strconv.ParseInt(fields[1], 10, 64)
	return mark{time: t, offset: offset, lines: lines}, errors.Join(err1, err2) == nil && offset >= 0 && lines >= 0
}

// segments writes the records of one run. It is used by one goroutine.
type segments struct {
	dir             string
	limit, runLimit int64

	file, index *os.File
	number      int
	oldest      int
	size        int64
	marked      int64 // offset of the last mark
	lines       int64 // whole lines of the run so far
	latest      [stampSize]byte
	open        [8]bool // which streams are in the middle of a line
}

// write appends whole records and returns how many bytes of them are kept:
// always whole records, so that a full disk leaves no torn one.
func (s *segments) write(batch []byte) (int, error) {
	kept := 0
	for len(batch) > 0 {
		n, err := s.fit(batch)
		if err == nil {
			n, err = s.append(batch[:n])
		}
		kept += n
		if err != nil {
			return kept, err
		}
		batch = batch[n:]
	}
	return kept, nil
}

// fit returns how many bytes of whole records go into the present segment,
// after beginning a new one if there is no room for the first.
func (s *segments) fit(batch []byte) (int, error) {
	first := bytes.IndexByte(batch, '\n') + 1
	if s.file == nil || s.size > 0 && s.size+int64(first) > s.limit {
		if err := s.roll(); err != nil {
			return 0, err
		}
	}
	room := min(int64(len(batch)), s.limit-s.size)
	return max(first, bytes.LastIndexByte(batch[:max(room, 0)], '\n')+1), nil
}

// append writes records to the present segment. What was written of a record
// that did not fit on the disk is taken back.
func (s *segments) append(records []byte) (int, error) {
	n, err := s.file.Write(records)
	if err != nil {
		n = bytes.LastIndexByte(records[:max(n, 0)], '\n') + 1
		_ = s.file.Truncate(s.size + int64(n)) // already reporting the first error
		_, _ = s.file.Seek(s.size+int64(n), io.SeekStart)
	}
	s.account(records[:n])
	return n, err
}

// account counts the lines of what was written and marks it in the index.
func (s *segments) account(records []byte) {
	var marks []byte
	for len(records) > 0 {
		end := bytes.IndexByte(records, '\n') + 1
		row := records[:end]
		if bytes.Compare(row[:stampSize], s.latest[:]) > 0 {
			copy(s.latest[:], row)
		}
		if s.due() {
			marks = fmt.Appendf(marks, markLayout, s.latest[:], s.size, s.lines)
			s.marked = s.size
		}
		s.follow(row[letterAt])
		s.size += int64(end)
		records = records[end:]
	}
	if len(marks) == 0 || s.index == nil {
		return
	}
	if _, err := s.index.Write(marks); err != nil {
		// Searching is slower without it; nothing is wrong without it.
		_ = s.index.Close()
		s.index = nil
	}
}

// due reports whether the index wants a mark here. It prefers a place where no
// stream is in the middle of a line, so that who begins there reads whole ones.
func (s *segments) due() bool {
	since := s.size - s.marked
	return s.size == 0 || since >= markAtLast || since >= markEvery && s.open == [8]bool{}
}

// follow keeps track of which streams are in the middle of a line.
func (s *segments) follow(letter byte) {
	if Stream(letter) == Gap {
		s.open = [8]bool{} // readers end what was begun before a gap
	}
	if letter < 'a' {
		s.open[Stream(letter+'a'-'A').number()] = true
		return
	}
	s.open[Stream(letter).number()] = false
	s.lines++
}

// roll begins the next segment and drops the oldest ones that the run may no
// longer have.
func (s *segments) roll() error {
	f, err := os.OpenFile(segmentPath(s.dir, s.number+1, logExt), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	s.close()
	s.number++
	if s.oldest == 0 {
		s.oldest = s.number
	}
	s.file, s.size, s.marked = f, 0, 0
	s.index, err = os.OpenFile(segmentPath(s.dir, s.number, indexExt), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		s.index = nil
	}
	for s.oldest < s.number && int64(s.number-s.oldest+1)*s.limit > s.runLimit {
		err := os.Remove(segmentPath(s.dir, s.oldest, logExt))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			break // tried again at the next segment
		}
		_ = os.Remove(segmentPath(s.dir, s.oldest, indexExt))
		s.oldest++
	}
	return nil
}

// gone reports whether the present segment has lost its name: somebody removed
// it, and what is written to it is lost.
func (s *segments) gone() bool {
	if s.file == nil {
		return false
	}
	ours, err := s.file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(segmentPath(s.dir, s.number, logExt))
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(ours, named)
}

// moveTo goes on in a folder that has no segments yet. Their numbers go on, too:
// who follows the run finds its way.
func (s *segments) moveTo(dir string) {
	s.close()
	s.dir, s.oldest, s.lines = dir, 0, 0
}

func (s *segments) close() {
	for _, f := range []*os.File{s.file, s.index} {
		if f != nil {
			_ = f.Close() // written without buffers: nothing can be left
		}
	}
	s.file, s.index = nil, nil
}
