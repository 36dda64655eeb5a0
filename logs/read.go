package logs

import (
	"context"
	"log/slog"
	"regexp"
	"time"
)

// A Query says which lines of which runs are wanted. Its zero value wants
// nothing.
type Query struct {
	// Runs are the runs to read, from Store.Runs.
	Runs []RunInfo
	// Tail is how many lines are wanted of all runs together, the last ones.
	// Zero: all. NoTail: none of what is there already, for Follow.
	Tail   int
	NoTail bool
	// Since and Until bound the time of the lines; zero: no bound.
	Since, Until time.Time
	// Grep is searched for in the text without its escape sequences. Nil: all
	// lines.
	Grep *regexp.Regexp
	// Follow goes on with what is written later.
	Follow bool
	// Next is asked, while following, for the runs there are now; those not
	// yet known are read from their beginning. Nil: Read ends with the runs it
	// began with.
	Next func() ([]RunInfo, error)
	// Ended is called behind the last line of each run that has ended. Nil: no
	// one is told.
	Ended func(RunInfo) error
	// Idle is called, while following, whenever all there is has been given
	// out. Nil: nobody is told.
	Idle func() error
	// Logger is told once if the system does not say when files change. Nil:
	// nobody is.
	Logger *slog.Logger
}

// Read gives the lines of all runs to each, merged by time: those of one run
// in the order they were written, those of the same moment in the order of the
// runs. It reads as it goes, so its memory does not grow with the logs.
// Without Follow it ends with what was there when it began. It returns the
// first error of each or Ended as it is, and ctx's cause when ctx ends.
func (s *Store) Read(ctx context.Context, q Query, each func(Line) error) error {
	r := &reader{store: s, query: q, each: each, filter: filter{q.Since, q.Until, q.Grep}, known: map[string]bool{}}
	defer r.close()
	if err := r.begin(); err != nil {
		return err
	}
	if !q.Follow {
		_, err := r.round(ctx, 0)
		return err
	}
	return r.follow(ctx)
}

// A reader is one Read.
type reader struct {
	store  *Store
	query  Query
	each   func(Line) error
	filter filter
	feeds  []*feed
	known  map[string]bool // runs by folder
	skip   int             // lines still to be left out for Tail
}

// A feed is a run within a merge.
type feed struct {
	cursor
	head    Line
	has     bool
	key     time.Time // head's place in the merge; never goes back
	skip    int
	drained bool // all was read, and half lines were given out
	checked time.Time
}

// begin places a feed in each run.
func (r *reader) begin() error {
	total := 0
	for _, run := range r.query.Runs {
		f, found, err := r.place(run)
		if err != nil {
			return err
		}
		total += found
		r.feeds = append(r.feeds, f)
		r.known[run.dir] = true
	}
	if r.query.Tail > 0 {
		r.skip = max(0, total-r.query.Tail)
	}
	return nil
}

// place makes the feed of a run and puts it where its first wanted line is.
// found is how many wanted lines are there, if there is a tail.
func (r *reader) place(run RunInfo) (f *feed, found int, err error) {
	f = &feed{cursor: cursor{run: run, final: !r.query.Follow || run.State != Live}}
	all, err := blocks(run)
	if err != nil {
		return nil, 0, err
	}
	if len(all) == 0 {
		f.complete = true
		if !r.query.Follow {
			f.limit = &position{}
		}
		return f, 0, nil
	}
	end := all[len(all)-1].to
	if !r.query.Follow {
		f.limit = &end
	}
	switch q := r.query; {
	case q.NoTail:
		f.at, f.lines = end, all[len(all)-1].lines
	case q.Tail > 0:
		begin, surplus, n, err := tailBlock(run, all, q.Tail, r.filter)
		if err != nil {
			return nil, 0, err
		}
		f.seek(all[begin])
		f.key, f.skip, found = all[begin].time, surplus, n
		f.complete = false
	case !q.Since.IsZero():
		from := all[sinceBlock(all, q.Since)]
		f.seek(from)
		f.key = from.time
		f.complete = false
	default:
		f.complete = true
	}
	return f, found, nil
}

// round gives out what is there now, at most most lines if that is not 0, and
// reports whether that was all. Feeds that will have no more are removed.
func (r *reader) round(ctx context.Context, most int) (dry bool, err error) {
	for _, f := range r.feeds {
		f.drained = false
	}
	for n := 0; most == 0 || n < most; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		next, err := r.pick()
		if err != nil {
			return false, err
		}
		if next == nil {
			return true, nil
		}
		next.has = false
		if r.skip > 0 {
			r.skip--
			continue
		}
		if err := r.each(next.head); err != nil {
			return false, err
		}
	}
	return false, nil
}

// pick returns the feed with the earliest line, or nil if no feed has one. It
// removes the feeds that have come to their end.
func (r *reader) pick() (*feed, error) {
	var first *feed
	left := r.feeds[:0]
	var failed error
	for _, f := range r.feeds {
		if failed == nil && !f.has {
			failed = f.pull(r.filter)
		}
		if failed == nil && !f.has && f.final {
			failed = r.end(f)
			continue
		}
		left = append(left, f)
		if f.has && (first == nil || f.key.Before(first.key)) {
			first = f
		}
	}
	r.feeds = left
	return first, failed
}

// pull makes the next wanted line the feed's head, if there is one now.
func (f *feed) pull(want filter) error {
	for {
		l, ok, err := f.next()
		if err != nil {
			return err
		}
		if !ok {
			if f.drained {
				return nil
			}
			f.drained = true
			f.release(!f.final)
			continue
		}
		if l.Time.After(f.key) {
			f.key = l.Time
		}
		if !want.match(l) {
			continue
		}
		if f.skip > 0 {
			f.skip--
			continue
		}
		f.head, f.has = l, true
		return nil
	}
}

// end closes a feed and tells of its run's end.
func (r *reader) end(f *feed) error {
	f.close()
	if f.run.State == Live || r.query.Ended == nil {
		return nil
	}
	return r.query.Ended(f.run)
}

func (r *reader) close() {
	for _, f := range r.feeds {
		f.close()
	}
}
