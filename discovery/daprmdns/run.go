package daprmdns

import (
	"context"
	"sync"
	"time"
)

// repeatAfter is when the announcement is sent for the second time: packets get
// lost.
const repeatAfter = time.Second

// renewTime bounds the question for a name whose instances get old.
const renewTime = 3 * time.Second

// Run answers for the announced instance and keeps what was found fresh, until
// ctx ends. It returns nil: without a socket apps are found in other ways.
func (s *Service) Run(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	for i := range s.o.Interfaces {
		iface := &s.o.Interfaces[i]
		conn, err := join(iface)
		if err != nil {
			s.log.Warn("nobody is answered by mDNS", "interface", iface.Name, "err", err)
			continue
		}
		working.Go(func() { (&responder{s, conn, iface}).run(ctx) })
	}
	again := time.NewTimer(repeatAfter)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			if r, ok := s.present(); ok {
				if err := s.say(r); err != nil {
					s.log.Debug("not announced again", "err", err)
				}
			}
		case app := <-s.renew:
			working.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, renewTime)
				defer cancel()
				_ = s.ask(ctx, app, false) // it expires, and is asked for when it is missing
			})
		case <-ctx.Done():
			return nil
		}
	}
}
