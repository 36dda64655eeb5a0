package app_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/runtime/app"
)

// However long a build takes, an app that it is yet to make is neither one that
// opens no port nor one that listens somewhere.
func TestWhatIsYetToBeBuiltIsNotLookedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		looks, rec := 0, new(recorder)
		a := app.New(app.Config{Name: "orders", Command: true, Events: rec.add, Sockets: func() ([]app.Socket, error) {
			looks++
			return nil, nil
		}})
		a.Building()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if looks != 0 || a.State() != discovery.Starting || len(rec.all()) != 0 {
			t.Errorf("while it is built: looked %d times, %s, %v", looks, a.State(), rec.all())
		}
		a.Started()
		time.Sleep(time.Hour)
		synctest.Wait()
		if looks == 0 || a.State() != discovery.Ready || len(rec.all()) != 1 {
			t.Errorf("once it runs: looked %d times, %s, %v", looks, a.State(), rec.all())
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}
