package sidecar

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/logs"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/supervisor"
)

// heard gets what a room's app observes, in order. Of one that has no calls, or
// has them no more, only who waits for it hears, but for its being on the wrong
// port.
func (s *sidecar) heard(r *room, event app.Event) {
	r.ring()
	if e, wrong := event.(app.WrongPort); wrong && !s.stopped.Load() {
		s.sayWrongPort(e)
		return
	}
	if s.current.Load() != r {
		return
	}
	if _, state := event.(app.StateChanged); !state && s.stopped.Load() {
		return // of an app that is about to end nobody needs to know where it listens
	}
	switch e := event.(type) {
	case app.StateChanged:
		s.publish()
		s.heardState(e.State)
	case app.Healthy, app.Unhealthy:
		s.heardHealth(e)
	case app.Detected:
		s.log.Debug("app port found", "port", e.Port)
	case app.Candidates:
		s.puzzled.Store(true)
		s.say(Notice{
			Kind:  Warning,
			Text:  fmt.Sprintf("%s answers on several ports: %s", s.cfg.AppID, ports(e.Ports)),
			Cause: "which of them is meant is not guessed; calls to " + s.cfg.AppID + " fail until then",
			Hint:  fmt.Sprintf("give --app-port %d, or another of them", e.Ports[0]),
		})
	case app.NoPort:
		s.sayNoPort(e)
	}
}

// sayWrongPort says that the app does not listen where it is called, also of one
// that is to take over: it is waited for.
func (s *sidecar) sayWrongPort(e app.WrongPort) {
	s.puzzled.Store(true)
	s.say(Notice{
		Kind:  Warning,
		Text:  fmt.Sprintf("%s listens on %s, not %d", s.cfg.AppID, ports(e.Listens), e.Want),
		Cause: "it opened " + ports(e.Listens) + " and nothing else",
		Hint:  fmt.Sprintf("give --app-port %d, or leave the flag out", e.Listens[0]),
	})
}

// heardState begins what waits for the app's port to be open, and for its being
// ready, for the first time.
func (s *sidecar) heardState(state discovery.State) {
	if state != discovery.Ready && state != discovery.Unhealthy {
		return
	}
	if s.reached.CompareAndSwap(false, true) {
		close(s.opened)
	}
	if state == discovery.Ready && s.ready.CompareAndSwap(false, true) {
		close(s.answers)
		s.sayReady()
	}
}

func ports(list []uint16) string {
	var out []string
	for _, p := range list {
		out = append(out, port(p))
	}
	return strings.Join(out, ", ")
}

// doorFacts are where the app's own calls go.
func (s *sidecar) doorFacts() []string {
	return []string{"http " + port(s.http.port), "grpc " + port(s.grpc.port)}
}

// whoFacts are who the app is to others, and how they find it.
func (s *sidecar) whoFacts() []string {
	facts := []string{s.workload.ID().String()}
	announced := announcing(s.cfg.Discovery)
	if len(announced) == 0 {
		return append(facts, "found by nobody")
	}
	return append(facts, "found by "+strings.Join(announced, ", "))
}

func (s *sidecar) sayReady() {
	if s.cfg.Profile.AsDaprd {
		return // said in the order in which daprd does
	}
	var facts []string
	if p := s.app().Port(); p != 0 {
		facts = append(facts, "app "+port(p))
	}
	s.say(Notice{Kind: Good, Up: true, Text: s.cfg.AppID + " is ready", Facts: append(facts, s.doorFacts()...), More: s.whoFacts()})
}

// sayNoPort is the ready line of an app that only calls others.
func (s *sidecar) sayNoPort(e app.NoPort) {
	if s.ready.Swap(true) {
		return
	}
	text := s.cfg.AppID + " opens no port: it can call others, they cannot call it"
	if len(e.Ignored) > 0 {
		text = fmt.Sprintf("%s opens no port that answers HTTP (%s does not): it can call others, they cannot call it",
			s.cfg.AppID, ports(e.Ignored))
	}
	s.say(Notice{Kind: Good, Up: true, Text: text, Facts: s.doorFacts(), More: s.whoFacts()})
}

// announceStart tells the sources that announce that we are here, and what is
// to be said at once.
func (s *sidecar) announceStart() {
	s.publish()
	if s.cfg.Profile.AsDaprd || len(s.cfg.Command) > 0 {
		return
	}
	n := Notice{Kind: Good, Up: true, Text: s.cfg.AppID + "'s sidecar is up", Facts: s.doorFacts(), More: s.whoFacts()}
	if s.cfg.AppPort != 0 {
		n.Facts = append([]string{"waits for the app on port " + port(s.cfg.AppPort)}, n.Facts...)
	}
	s.say(n)
}

// sayStarting breaks the silence of an app that takes its time, such as one
// that compiles first.
func (s *sidecar) sayStarting() {
	p := s.process()
	if s.ready.Load() || s.puzzled.Load() || p == nil || p.isOver() {
		return
	}
	s.say(Notice{
		Text:  s.cfg.AppID + " is starting",
		Facts: []string{"waiting for it to listen"},
		More:  s.doorFacts(),
	})
}

// logWriter is where a copy of the app's output goes.
func (s *sidecar) logWriter(stream string) io.Writer {
	if s.record == nil {
		return io.Discard
	}
	switch stream {
	case supervisor.Stderr:
		return s.record.Writer(logs.Stderr)
	case supervisor.TTY:
		return s.record.Writer(logs.TTY)
	default:
		return s.record.Writer(logs.Stdout)
	}
}

// closeRecord writes the log's last lines and says what was lost. It may be
// called twice.
func (s *sidecar) closeRecord(ctx context.Context) {
	if s.record == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logFlush)
	defer cancel()
	if err := s.record.Close(ctx); err != nil {
		s.log.Debug("log not closed", "err", err)
	}
	if problem := s.record.Problem(); problem != "" && s.env.Say != nil {
		s.env.Say(Notice{Kind: Warning, Text: "the log of " + s.cfg.AppID + " is not complete", Cause: problem})
	}
	s.record = nil
}

// noteExpiry keeps the entry's word on the certificate true.
func (s *sidecar) noteExpiry(ctx context.Context) error {
	for {
		changed := s.workload.Changed()
		expires := s.workload.Leaf().NotAfter
		if err := s.registration.Update(func(e *rundir.Entry) { e.CertExpires = expires }); err != nil {
			s.log.Debug("entry not written", "err", err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// watchLog says once that the log has trouble, while there is still time to do
// something about it.
func (s *sidecar) watchLog(ctx context.Context) error {
	if s.record == nil {
		<-ctx.Done()
		return nil
	}
	select {
	case <-s.record.Failed():
		if s.env.Say != nil {
			s.env.Say(Notice{Kind: Warning, Text: "the output of " + s.cfg.AppID + " is not all kept", Cause: s.record.Problem()})
		}
		<-ctx.Done()
	case <-ctx.Done():
	}
	return nil
}
