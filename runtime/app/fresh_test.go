package app

import (
	"testing"
	"testing/synctest"
	"time"
)

// Where to ask the ports takes long, a port that has answered is still one that has
// only just appeared: another one, which had no time to answer, is asked again
// before it is decided.
func TestAPortIsFreshHoweverLongItTookToAsk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		open := []Socket{{PID: 1}}
		w := &watch{app: New(Config{Sockets: func() ([]Socket, error) { return open, nil }}), seen: make(map[uint16]*candidate)}
		for _, want := range []bool{true, false} {
			if _, ok := w.sockets(); !ok {
				t.Fatal("the sockets were not read")
			}
			time.Sleep(5 * time.Second) // a stall of the machine
			if got := w.fresh(open[0].Addr.Port()); got != want {
				t.Errorf("fresh = %v, want %v", got, want)
			}
		}
	})
}
