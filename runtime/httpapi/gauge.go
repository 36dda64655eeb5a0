package httpapi

import "sync"

// A gauge counts what is under way. Unlike a WaitGroup it may leave zero while
// somebody waits. Its zero value is ready.
type gauge struct {
	mu    sync.Mutex // guards what follows
	n     int
	empty chan struct{} // closed at zero; nil if nobody waits
}

func (g *gauge) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n += n
	if g.n == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// wait returns when nothing is under way.
func (g *gauge) wait() {
	for {
		g.mu.Lock()
		if g.n == 0 {
			g.mu.Unlock()
			return
		}
		if g.empty == nil {
			g.empty = make(chan struct{})
		}
		empty := g.empty
		g.mu.Unlock()
		<-empty
	}
}
