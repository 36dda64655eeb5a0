package logs

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"time"

	"github.com/pillion-dev/pillion/internal/escape"
)

// A block is a part of a run between two marks of the index.
type block struct {
	from, to position
	time     time.Time // the mark's; zero if it is not known
	lines    int64     // of the run before it
	first    bool      // of the run
}

// blocks lists the parts of a run as it is now.
func blocks(run RunInfo) ([]block, error) {
	numbers, err := segmentNumbers(run.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // dropped since it was listed
	}
	if err != nil {
		return nil, err
	}
	var all []block
	for _, n := range numbers {
		info, err := os.Stat(segmentPath(run.dir, n, logExt))
		if err != nil {
			continue // dropped
		}
		marks := readIndex(run.dir, n)
		for i, m := range marks {
			if m.offset >= info.Size() && m.offset > 0 {
				break
			}
			end := info.Size()
			if i+1 < len(marks) {
				end = min(end, marks[i+1].offset)
			}
			all = append(all, block{
				from: position{n, m.offset}, to: position{n, end},
				time: m.time, lines: m.lines, first: len(all) == 0,
			})
		}
	}
	return all, nil
}

// Count is how many lines a run has, those dropped since included. It reads
// the index and the end of the run only.
func (s *Store) Count(run RunInfo) (int64, error) {
	all, err := blocks(run)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	last := all[len(all)-1]
	c := &cursor{run: run, final: true}
	defer c.close()
	n, err := c.count(last, filter{})
	return last.lines + int64(n), err
}

// A filter says which lines are wanted.
type filter struct {
	since, until time.Time
	grep         *regexp.Regexp
}

func (f filter) match(l Line) bool {
	if !f.since.IsZero() && l.Time.Before(f.since) || !f.until.IsZero() && l.Time.After(f.until) {
		return false
	}
	return f.grep == nil || f.grep.Match(escape.Plain(l.Text))
}

// count goes to a block and counts the wanted lines in it.
func (c *cursor) count(b block, f filter) (int, error) {
	c.seek(b)
	c.limit, c.complete = &b.to, false
	n := 0
	for {
		l, ok, err := c.next()
		switch {
		case err != nil:
			return 0, err
		case ok && f.match(l):
			n++
		case ok:
		default:
			if c.release(false); len(c.ready) == 0 {
				return n, nil
			}
		}
	}
}

// sinceBlock is the first block that can hold a line not before t: all lines
// before it are older.
func sinceBlock(all []block, t time.Time) int {
	for i, b := range all {
		if !b.time.Before(t) {
			return max(0, i-1)
		}
	}
	return max(0, len(all)-1)
}

// tailBlock is the block to begin in for the last n wanted lines, and how many
// of those from there on are too many. It reads from the end and only what it
// needs.
func tailBlock(run RunInfo, all []block, n int, f filter) (begin, surplus, found int, err error) {
	c := &cursor{run: run, final: true}
	defer c.close()
	for begin = len(all) - 1; begin >= 0; begin-- {
		wanted, err := c.count(all[begin], f)
		if err != nil {
			return 0, 0, 0, err
		}
		found += wanted
		if found >= n {
			return begin, found - n, n, nil
		}
		if begin > 0 && !f.since.IsZero() && all[begin].time.Before(f.since) && !all[begin].time.IsZero() {
			break // what is before is too old
		}
	}
	return max(0, begin), 0, found, nil
}
