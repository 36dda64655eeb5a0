package discovery

import (
	"context"
	"sync"
	"time"
)

const (
	// maxAsks questions to the network are under way at once; a name beyond
	// them is not asked for.
	maxAsks = 64
	// While somebody waits for a name it is asked for at once, and again after
	// intervals that grow from firstAsk to maxAsk.
	firstAsk = 50 * time.Millisecond
	maxAsk   = time.Second
)

// A flight is a question that is under way.
type flight struct {
	done     chan struct{}
	finished bool // not given up; written before done is closed
}

// Changed waits until the answer for key differs from the one numbered
// version, and returns the new one's number; or ctx's cause. While it waits,
// the sources are watched and the network is asked at growing intervals.
func (r *Resolver) Changed(ctx context.Context, key Key, version uint64) (uint64, error) {
	s := r.enter(key)
	defer r.leave(s)
	for {
		a := r.revalidate(key)
		if a.number == 0 {
			a = r.fill(key, s)
		}
		if a.number != version && (version != 0 || len(a.endpoints) > 0) {
			return a.number, nil
		}
		select {
		case <-ctx.Done():
			return version, context.Cause(ctx)
		case <-a.replaced:
		case r.lead <- struct{}{}:
			r.watch(ctx, a.replaced)
			<-r.lead
		}
	}
}

// enter says that somebody waits for key.
func (r *Resolver) enter(key Key) *slot {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.placeLocked(key)
	// Callers who wait in short pieces do not ask anew with each of them.
	if now := r.now(); s.waiters == 0 && now.Sub(s.nextAsk) > maxAsk {
		s.askPause, s.nextAsk = firstAsk, now
	}
	s.waiters++
	return s
}

func (r *Resolver) leave(s *slot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.waiters--
}

// fill gives a place that has never had an answer its first one.
func (r *Resolver) fill(key Key, s *slot) *answer {
	versions := r.versions()
	fresh := r.lookup(key)
	fresh.versions = versions
	r.replace(key, s, nothing, fresh)
	return s.answer.Load()
}

// watch polls for everybody who waits, until ctx ends or done is closed. Only
// one does at a time, so a thousand held calls cost what one costs.
func (r *Resolver) watch(ctx context.Context, done <-chan struct{}) {
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-done:
			return
		case <-tick.C:
		}
		for _, key := range r.waited() {
			if a := r.revalidate(key); len(a.endpoints) == 0 && r.due(key) {
				asking.Go(func() { r.ask(ctx, key) })
			}
		}
	}
}

// waited lists the names somebody waits for.
func (r *Resolver) waited() []Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys []Key
	for key, s := range *r.table.Load() {
		if s.waiters > 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// due reports whether key is to be asked for again now.
func (r *Resolver) due(key Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := (*r.table.Load())[key]
	if s == nil || r.now().Before(s.nextAsk) {
		return false
	}
	s.nextAsk = r.now().Add(s.askPause)
	s.askPause = min(2*s.askPause, maxAsk)
	return true
}

// search asks the network for a name that is not known, and waits for an
// instance from any source.
func (r *Resolver) search(ctx context.Context, key Key, known *answer) *answer {
	expected := r.seen.Ever(key)
	if !expected && !r.canAsk() {
		return known
	}
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	var asking sync.WaitGroup
	asking.Go(func() {
		r.ask(ctx, key)
		if !expected {
			cancel()
		}
	})
	_, _ = r.Changed(ctx, key, known.number) // not found is told by the table
	cancel()
	asking.Wait()
	return r.revalidate(key)
}

func (r *Resolver) canAsk() bool {
	for _, s := range r.sources {
		if _, ok := s.(Asker); ok {
			return true
		}
	}
	return false
}

// ask asks all sources that can be asked, at once, and returns when they have
// given up, found something, or ctx has ended. Callers who ask for the same
// name share one question.
func (r *Resolver) ask(ctx context.Context, key Key) {
	for ctx.Err() == nil {
		r.mu.Lock()
		f, under := r.flights[key]
		if !under {
			f = &flight{done: make(chan struct{})}
			r.flights[key] = f
		}
		r.mu.Unlock()
		if !under {
			r.fly(ctx, key, f)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-f.done:
			if f.finished {
				return
			} // else whoever asked has gone: it is ours now
		}
	}
}

func (r *Resolver) fly(ctx context.Context, key Key, f *flight) {
	defer func() {
		f.finished = ctx.Err() == nil
		r.mu.Lock()
		delete(r.flights, key)
		r.mu.Unlock()
		close(f.done)
	}()
	select {
	case r.asks <- struct{}{}:
		defer func() { <-r.asks }()
	default:
		return
	}
	var all sync.WaitGroup
	for _, s := range r.sources {
		if asker, ok := s.(Asker); ok {
			all.Go(func() {
				if err := asker.Ask(ctx, key); err != nil && ctx.Err() == nil {
					r.log.Debug("question failed", "source", asker.Name(), "err", err)
				}
			})
		}
	}
	all.Wait()
}
