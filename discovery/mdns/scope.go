package mdns

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/pillion-dev/pillion/discovery"
)

// A scope is how far names go: this machine, or the networks it is on. Each
// has keys of its own, so that neither hears the other.
type scope struct {
	lan   bool
	keys  *keys
	zone  *zone
	cache *cache
	// rounds are when a question is sent, from the first; patience is when an
	// answer is not waited for any more. After a first answer others are
	// waited for linger long.
	rounds   []time.Duration
	patience time.Duration
	linger   time.Duration
}

func newScope(lan bool, k *keys, c *cache, z *zone) *scope {
	s := &scope{lan: lan, keys: k, cache: c, zone: z}
	if lan {
		s.rounds = []time.Duration{0, 20 * time.Millisecond, 80 * time.Millisecond}
		s.patience, s.linger = 250*time.Millisecond, 3*time.Millisecond
	} else {
		s.rounds = []time.Duration{0, 10 * time.Millisecond}
		s.patience, s.linger = 30*time.Millisecond, 500*time.Microsecond
	}
	return s
}

// interfaces are those the scope sends on.
func (s *scope) interfaces() ([]net.Interface, error) {
	if !s.lan {
		lo, err := loopback()
		if err != nil {
			return nil, err
		}
		return []net.Interface{*lo}, nil
	}
	lan, err := lanInterfaces()
	if err != nil {
		return nil, err
	}
	s.zone.at(addressesOfAll(lan))
	plain := make([]net.Interface, 0, len(lan))
	for _, i := range lan {
		plain = append(plain, i.Interface)
	}
	return plain, nil
}

// announce tells everybody in the scope what an instance says of itself.
func (s *scope) announce(a discovery.Announcement, epoch time.Time) error {
	ifaces, err := s.interfaces()
	if err != nil || len(ifaces) == 0 {
		return err
	}
	s.zone.mu.Lock()
	machine := s.zone.machine
	s.zone.mu.Unlock()
	r := s.zone.make(a, epoch, machine)
	if r.state == gone {
		s.zone.present(nil, r.instance)
	} else {
		s.zone.present(&r, "")
	}
	out, err := newSender(s.lan)
	if err != nil {
		return err
	}
	defer out.close()
	label := discovery.Label(s.keys.label, r.Key)
	return out.multicast(s.keys.responses(func(record) string { return label }, []record{r}), ifaces)
}

// ask asks for key and, from the second time on, for everybody, so that
// a name that was mistyped can be told from those that run. It returns when
// the patience is exhausted, or soon after found is true.
func (s *scope) ask(ctx context.Context, key discovery.Key, found func() bool) error {
	ifaces, err := s.interfaces()
	if err != nil || len(ifaces) == 0 {
		return err
	}
	socket, err := newSender(s.lan)
	if err != nil {
		return err
	}
	defer socket.close()
	// A read does not know the context: its end is a deadline in the past.
	stop := context.AfterFunc(ctx, func() { _ = socket.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()

	began := time.Now()
	label := discovery.Label(s.keys.label, key)
	for i := range s.rounds {
		labels := []string{label}
		if i > 0 {
			labels = append(labels, s.keys.every)
		}
		packet, err := question(labels...)
		if err != nil {
			return err
		}
		if err := socket.multicast([][]byte{packet}, ifaces); err != nil {
			return err
		}
		until := began.Add(s.patience)
		if i+1 < len(s.rounds) {
			until = began.Add(s.rounds[i+1])
		}
		if s.hear(ctx, socket, until, found) {
			return nil
		}
	}
	return nil
}

// hear takes in answers until a moment, or until soon after found is true. It
// reports whether that is all there is to hear.
func (s *scope) hear(ctx context.Context, socket *sender, until time.Time, found func() bool) bool {
	buf := make([]byte, 1<<16)
	for last := false; ctx.Err() == nil; {
		err := s.hearOne(ctx, socket, until, buf)
		over := errors.Is(err, os.ErrDeadlineExceeded)
		switch {
		// A read after its deadline looks at nothing: what came while a busy
		// machine let us wait is still there.
		case over && !last, err == nil && !last && found():
			last, until = true, time.Now().Add(s.linger)
		case over, errors.Is(err, net.ErrClosed):
			return found() || ctx.Err() != nil
		} // any other error is ICMP's answer to an earlier packet
	}
	return true
}

// hearOne takes in one packet.
func (s *scope) hearOne(ctx context.Context, socket *sender, until time.Time, buf []byte) error {
	if err := socket.conn.SetReadDeadline(until); err != nil {
		return net.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err // it ended before the deadline was set
	}
	n, _, err := socket.conn.ReadFromUDP(buf)
	if err == nil {
		s.takePacket(buf[:n])
	}
	return err
}

func (s *scope) takePacket(packet []byte) {
	if m, err := parse(packet); err == nil {
		s.take(m)
	}
}

// take puts what a packet says of our instances into the cache.
func (s *scope) take(m *message) {
	for _, r := range s.keys.read(m) {
		s.cache.add(s.keys, r, time.Now())
	}
}
