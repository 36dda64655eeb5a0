package daprmdns

import (
	"context"
	"io"
	"log"
	"sync"
	"time"

	hashicorp "github.com/hashicorp/mdns"
	"github.com/miekg/dns"
)

// repeatAfter is when the announcement is sent for the second time: packets get
// lost.
const repeatAfter = time.Second

// renewTime bounds the question for a name whose instances get old.
const renewTime = 3 * time.Second

// Run answers for the announced instance and keeps what was found fresh, until
// ctx ends. It returns nil: without a socket apps are found in other ways.
func (s *Service) Run(ctx context.Context) error {
	for i := range s.o.Interfaces {
		iface := &s.o.Interfaces[i]
		server, err := hashicorp.NewServer(&hashicorp.Config{
			Zone: zone{s}, Iface: iface, Logger: log.New(io.Discard, "", 0),
		})
		if err != nil {
			s.log.Warn("not announced by mDNS", "interface", iface.Name, "err", err)
			continue
		}
		defer server.Shutdown() //nolint:errcheck // it only closes sockets
	}
	var asking sync.WaitGroup
	defer asking.Wait()
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
			asking.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, renewTime)
				defer cancel()
				_ = s.ask(ctx, app, false) // it expires, and is asked for when it is missing
			})
		case <-ctx.Done():
			return nil
		}
	}
}

// zone is what is answered, as the library asks for it.
type zone struct{ s *Service }

// Records implements mdns.Zone.
func (z zone) Records(q dns.Question) []dns.RR {
	if r, ok := z.s.present(); ok {
		return r.answer(q)
	}
	return nil
}
