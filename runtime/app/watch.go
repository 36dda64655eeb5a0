package app

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// How often the app's port is tried while it is closed. Dialling the loopback
// takes 40 µs.
const (
	lookFirst = 20 * time.Millisecond
	lookSoon  = 50 * time.Millisecond
	lookLater = 250 * time.Millisecond
	lookIdle  = time.Second
)

// How often the sockets of the app's process tree are read, which takes some
// milliseconds: with a pause that is a part of the time the app has taken so
// far, so that one which starts slowly is found hardly later; not less often
// than scanHeld while calls wait; and never for more than a part of the time.
const (
	scanFirst = 20 * time.Millisecond
	scanHeld  = 100 * time.Millisecond
	scanIdle  = time.Second
	scanPart  = 40 // of the app's time
	scanShare = 10 // the reading itself is one part in so many of the time, at most
)

const (
	// wrongAfter is how long an app may listen elsewhere before that is said.
	wrongAfter = 3 * time.Second
	// detectFor is how long an app may take to open a port, and a port to
	// answer HTTP.
	detectFor = 10 * time.Second
	// settleFor is how long another port may take to appear beside the first.
	settleFor = 100 * time.Millisecond
	// crewLeaves bounds the wait for what carries calls when Run ends.
	crewLeaves = 2 * time.Second
)

// Run watches for the app to become ready and tells what happens, until ctx
// ends. It returns when everything of the app's has ended; calls that are
// served then are cut off by their own contexts.
func (a *App) Run(ctx context.Context) error {
	told := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(told)
		if a.cfg.Events != nil {
			a.events.run(done)
		}
	}()
	var asking sync.WaitGroup
	asking.Go(func() { a.watchHealth(ctx) })
	w := &watch{app: a, seen: make(map[uint16]*candidate)}
	w.run(ctx)
	asking.Wait()
	a.pool.close()
	a.links.close()
	if !a.crew.end(crewLeaves) {
		a.log.Debug("calls to the app did not end in time", "app", a.cfg.Name)
	}
	close(done)
	<-told
	return nil
}

// watch is what Run knows. It belongs to Run's goroutine.
type watch struct {
	app   *App
	phase phase // at the last look
	since time.Time
	// closedAt is when the app was first seen to be not ready.
	closedAt time.Time
	seen     map[uint16]*candidate
	busyAt   time.Time // when the app was last seen being built
	said     []uint16  // what was last said about wrong or several ports
	// found are the sockets as they were read last, at scanned; cost is how
	// long that took.
	found   []Socket
	fault   error
	scanned time.Time
	cost    time.Duration
}

func (w *watch) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-w.app.events.bell:
		case <-w.app.gate.asked:
		}
		timer.Stop()
		if wait := w.look(ctx); wait > 0 {
			timer.Reset(wait)
		}
	}
}

// look finds out how the app is, and returns when to look again; 0 is when
// something happens.
func (w *watch) look(ctx context.Context) time.Duration {
	p, since := w.app.gate.now()
	if since != w.since { // a new process
		w.since, w.said, w.busyAt, w.scanned = since, nil, time.Time{}, time.Time{}
		clear(w.seen)
		w.closedAt = time.Now()
	}
	if p != w.phase {
		if w.phase == ready {
			w.closedAt = time.Now()
		}
		w.phase = p
	}
	switch p {
	case ready, unwell:
		// A call that finds the port closed rings. Between calls nobody needs
		// to know, and an app's log shows every connection.
		return w.rest()
	case building, exited, failed, restarting:
		return 0
	case starting, closed, client, undecided, mistaken:
	}
	if w.app.Port() != 0 && w.opened(ctx) {
		return w.rest()
	}
	if w.app.cfg.Port != 0 {
		w.checkWrong()
	} else if w.detects() && w.isDue() {
		w.detect(ctx)
	}
	return w.pause()
}

// rest is how long to wait while the app is ready: until a call rings.
func (w *watch) rest() time.Duration { return 0 }

// detects reports whether the app's sockets can be looked at.
func (w *watch) detects() bool { return w.app.cfg.Command && w.app.cfg.Sockets != nil }

// pause is how long to wait before the next look.
func (w *watch) pause() time.Duration {
	if p, _ := w.app.gate.now(); p == ready || p == unwell {
		return w.rest()
	}
	if w.app.cfg.Port == 0 && !w.detects() {
		return 0
	}
	if w.app.cfg.Port == 0 {
		return max(time.Until(w.due()), time.Millisecond)
	}
	switch age := time.Since(w.closedAt); {
	case age < time.Second:
		return lookFirst
	case w.app.gate.holding() > 0 || age < detectFor:
		return lookSoon
	case age < time.Minute:
		return lookLater
	default:
		return lookIdle
	}
}

// scan reads the sockets of the app's process tree.
func (w *watch) scan() {
	began := time.Now()
	w.found, w.fault = w.app.cfg.Sockets()
	w.scanned = time.Now()
	w.cost = w.scanned.Sub(began)
	if w.fault != nil {
		w.app.log.Debug("the app's sockets cannot be read", "app", w.app.cfg.Name, "err", w.fault)
	}
}

// due is when the sockets may be read again.
func (w *watch) due() time.Time {
	if w.scanned.IsZero() {
		return time.Time{}
	}
	pause := min(max(w.scanned.Sub(w.closedAt)/scanPart, scanFirst), scanIdle)
	if w.app.gate.holding() > 0 || w.undecided() {
		pause = min(pause, scanHeld)
	}
	return w.scanned.Add(max(pause, w.cost*scanShare))
}

func (w *watch) isDue() bool { return !time.Now().Before(w.due()) }

// undecided reports whether a port may yet answer.
func (w *watch) undecided() bool {
	for _, c := range w.seen {
		if c.undecided() {
			return true
		}
	}
	return false
}

// opened dials the app's port and lets the calls go if it is open.
func (w *watch) opened(ctx context.Context) bool {
	at := w.app.place.spot()
	c, err := w.app.place.dialPlain(ctx)
	if err != nil {
		return false
	}
	_ = c.Close() // that it opened is all we wanted to know
	return w.isOurs() && w.becomeReady(at)
}

// isOurs reports whether the port given, which is open, may be the app's: a
// stranger's program can hold it while the app listens elsewhere. An app whose
// processes open nothing at all has somebody else listen for it, such as a
// container's proxy; that is believed after a while.
func (w *watch) isOurs() bool {
	want := w.app.cfg.Port
	if want == 0 || !w.detects() {
		return true
	}
	if time.Since(w.scanned) >= max(scanFirst, w.cost*scanShare) {
		w.scan()
	}
	sockets, err := w.found, w.fault
	if err != nil || slices.ContainsFunc(sockets, func(s Socket) bool { return s.Addr.Port() == want }) {
		return true
	}
	return len(sockets) == 0 && time.Since(w.closedAt) >= wrongAfter
}

// becomeReady lets the calls go to at.
func (w *watch) becomeReady(at *spot) bool {
	a := w.app
	p, since := a.gate.now()
	if p == exited || p == failed || p == restarting || !since.Equal(w.since) || a.place.spot() != at {
		return false
	}
	a.pool.forget()
	a.links.forget()
	w.said = nil
	opens, deny := a.opens()
	w.phase = opens
	moved := a.gate.move(p, opens, deny)
	if opens == unwell {
		ring(a.sick)
	}
	return moved
}

// checkWrong says after a while that the app listens elsewhere, and answers
// its calls with that. The port given is still tried.
func (w *watch) checkWrong() {
	a := w.app
	if !w.detects() || time.Since(w.closedAt) < wrongAfter {
		return
	}
	if w.isDue() {
		w.scan()
	}
	listens := portsOf(w.found)
	if len(listens) == 0 || slices.Contains(listens, a.cfg.Port) {
		return
	}
	if !slices.Equal(listens, w.said) {
		w.said = listens
		a.events.add(WrongPort{Want: a.cfg.Port, Listens: listens})
	}
	if p, _ := a.gate.now(); p == starting || p == mistaken {
		a.gate.move(p, mistaken, a.errMistaken(listens))
	}
}

// listens are the ports of the app's process tree, debuggers' ones left out.
func (a *App) listens() []uint16 {
	if a.cfg.Sockets == nil {
		return nil
	}
	sockets, err := a.cfg.Sockets()
	if err != nil {
		a.log.Debug("the app's sockets cannot be read", "app", a.cfg.Name, "err", err)
		return nil
	}
	return portsOf(sockets)
}

// portsOf are the ports of sockets, debuggers' ones left out, in rising order.
func portsOf(sockets []Socket) []uint16 {
	var found []uint16
	for _, s := range sockets {
		if !isDebugger(s) {
			found = append(found, s.Addr.Port())
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// dialPlain connects without TLS: an open port is what counts.
func (p *place) dialPlain(ctx context.Context) (net.Conn, error) {
	bare := &place{protocol: protoHTTP, address: p.address}
	bare.current.Store(p.spot())
	c, _, err := bare.dial(ctx)
	return c, err
}

// boundAddrs are the addresses that sockets of one port are bound to.
func boundAddrs(sockets []Socket, port uint16) []netip.Addr {
	var bound []netip.Addr
	for _, s := range sockets {
		if s.Addr.Port() == port && !slices.Contains(bound, s.Addr.Addr()) {
			bound = append(bound, s.Addr.Addr())
		}
	}
	return bound
}
