//go:build unix

package app

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
)

// Where the processor has no time for whoever connects, the connection is there
// all the same: none is given up for a second one, which the app would find in
// its queue too.
func TestAConnectionIsNotGivenUpForWantOfTime(t *testing.T) { //nolint:paralleltest // has the processor to itself
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var taken atomic.Int32
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			taken.Add(1)
			_ = c.Close()
		}
	}()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var stop atomic.Bool
	var busy sync.WaitGroup
	for range 8 { // each for some milliseconds, before it is another's turn
		busy.Go(func() {
			for !stop.Load() {
			}
		})
	}
	const calls = 10
	for range calls {
		c, err := connect(within.Context(t), ln.Addr().String())
		if err != nil {
			t.Error(err)
			continue
		}
		_ = c.Close()
	}
	stop.Store(true)
	busy.Wait()
	within.Until(t, "all connections to be taken", func() bool { return taken.Load() >= calls })
	_ = ln.Close()
	within.Receive(t, accepted)
	if n := taken.Load(); n > calls+calls/2 {
		t.Errorf("the app was given %d connections for %d calls", n, calls)
	}
}
