package app

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A candidate is a port of the app's process tree that may be its app port.
type candidate struct {
	since  time.Time // when it was first seen
	skip   bool      // a debugger's
	answer answer
}

// undecided reports whether the port may still come to answer.
func (c *candidate) undecided() bool {
	return !c.skip && c.answer == answersNothing && time.Since(c.since) < detectFor
}

// detect looks for the one port of the app's process tree that answers HTTP.
func (w *watch) detect(ctx context.Context) {
	sockets, ok := w.sockets()
	if !ok {
		return
	}
	w.probe(ctx, sockets)
	found := w.answering()
	if len(found) == 1 && w.fresh(found[0]) {
		// Another port may be just about to open.
		if !sleep(ctx, settleFor) {
			return
		}
		if sockets, ok = w.sockets(); !ok {
			return
		}
		w.probe(ctx, sockets)
		found = w.answering()
	}
	switch {
	case len(found) == 1:
		w.settled(found[0], sockets)
	case len(found) > 1:
		w.several(found)
	default:
		w.none()
	}
}

// sockets reads the tree's sockets and keeps w.seen in step.
func (w *watch) sockets() ([]Socket, bool) {
	w.scan()
	if w.fault != nil {
		return nil, false
	}
	sockets := w.found
	now := time.Now()
	open := make(map[uint16]bool, len(sockets))
	for _, s := range sockets {
		port := s.Addr.Port()
		open[port] = true
		c := w.seen[port]
		if c == nil {
			c = &candidate{since: now, skip: true}
			w.seen[port] = c
		}
		// Of several processes on one port one that is no debugger will do.
		c.skip = c.skip && isDebugger(s)
	}
	for port := range w.seen {
		if !open[port] {
			delete(w.seen, port)
		}
	}
	return sockets, true
}

// probe asks every undecided port at once. Once one has answered, the others
// are waited for only a little longer.
func (w *watch) probe(ctx context.Context, sockets []Socket) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var (
		asked  sync.WaitGroup
		hurry  sync.Once
		mu     sync.Mutex
		result = make(map[uint16]answer)
	)
	room := make(chan struct{}, probesAtOnce)
	for port, c := range w.seen {
		if !c.undecided() {
			continue
		}
		hosts := w.hosts(boundAddrs(sockets, port))
		asked.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			got := ask(ctx, w.app.place, hosts, port)
			if got == answersNothing {
				return
			}
			mu.Lock()
			result[port] = got
			mu.Unlock()
			hurry.Do(func() { time.AfterFunc(probeOthers, cancel) })
		})
	}
	asked.Wait()
	for port, got := range result {
		w.seen[port].answer = got
	}
}

// hosts are the addresses at which a socket bound so is asked.
func (w *watch) hosts(bound []netip.Addr) []string {
	if w.app.cfg.Address != "" {
		return []string{w.app.cfg.Address}
	}
	return hostsOf(bound)
}

// answering are the ports that answered, in rising order.
func (w *watch) answering() []uint16 {
	var found []uint16
	for port, c := range w.seen {
		if c.answer != answersNothing {
			found = append(found, port)
		}
	}
	slices.Sort(found)
	return found
}

// fresh reports whether the port had only just appeared when the sockets were
// read. To ask may have taken long since then, on a machine with too much to do:
// of another port it tells nothing that nobody has answered there meanwhile.
func (w *watch) fresh(port uint16) bool { return w.scanned.Sub(w.seen[port].since) < time.Second }

// settled makes port the app's.
func (w *watch) settled(port uint16, sockets []Socket) {
	a := w.app
	http2 := w.seen[port].answer == answersHTTP2
	before := a.Port()
	at := a.place.move(port, boundAddrs(sockets, port), http2)
	if w.becomeReady(at) && before != port {
		a.events.add(Detected{Port: port, HTTP2: http2})
	}
	// Once it closes, it has to answer anew.
	clear(w.seen)
}

// several says that the app's port cannot be told.
func (w *watch) several(found []uint16) {
	a := w.app
	if !slices.Equal(found, w.said) {
		w.said = found
		a.events.add(Candidates{Ports: found})
	}
	if p, _ := a.gate.now(); p == starting || p == client || p == undecided {
		a.gate.move(p, undecided, a.errUndecided(found))
	}
}

// none makes an app that has opened nothing for a while one that only calls
// others. While it is still being compiled it has not begun.
func (w *watch) none() {
	a := w.app
	p, since := a.gate.now()
	if p == undecided { // the ports it had are gone
		a.gate.move(p, starting, nil)
		return
	}
	now := time.Now()
	if p != starting || now.Sub(since) < detectFor {
		return
	}
	if a.cfg.Processes != nil && now.Sub(since) < a.cfg.StartHold && isBuilding(a.cfg.Processes()) {
		w.busyAt = now
	}
	if now.Sub(w.busyAt) < detectFor {
		return
	}
	var ignored []uint16
	for port, c := range w.seen {
		if c.undecided() {
			return
		}
		ignored = append(ignored, port)
	}
	slices.Sort(ignored)
	a.events.add(NoPort{Ignored: ignored}) // before the state it explains
	a.gate.move(p, client, a.errNoPort(ignored))
}

// sleep waits for d; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
