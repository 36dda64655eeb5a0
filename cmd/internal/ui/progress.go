package ui

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/internal/human"
)

// How long a wait is silent, and when it is worth a line where rows cannot be
// rewritten.
const (
	quiet    = 300 * time.Millisecond
	tick     = time.Second
	longWait = 5 * time.Second
)

// Wait calls work and says meanwhile what it is waiting for: nothing for the
// first 300 ms, then on a live stream one row, rewritten each second and
// erased at the end; elsewhere one line after a second, and one at the end if
// it took more than five. text is asked for the row's facts and is given how
// long the wait has been.
func (p *Printer) Wait(ctx context.Context, text func(waited time.Duration) []string, work func(context.Context) error) error {
	done := make(chan struct{})
	var told sync.WaitGroup
	told.Go(func() { p.tell(done, text) })
	err := work(ctx)
	close(done)
	told.Wait()
	return err
}

func (p *Printer) tell(done <-chan struct{}, text func(time.Duration) []string) {
	start := time.Now()
	first := tick
	if p.Live {
		first = quiet
	}
	timer := time.NewTimer(first)
	defer timer.Stop()
	said := false
	for {
		select {
		case <-done:
			p.told(said, time.Since(start), text)
			return
		case <-timer.C:
		}
		facts := text(time.Since(start))
		switch {
		case len(facts) == 0:
		case p.Live:
			p.Print("\r\x1b[K" + p.oneRow(facts))
			said = true
		case !said:
			p.Say(NoMark, facts...)
			said = true
		}
		timer.Reset(tick)
	}
}

func (p *Printer) told(said bool, took time.Duration, text func(time.Duration) []string) {
	if !said {
		return
	}
	if p.Live {
		p.Print("\r\x1b[K")
		return
	}
	if took > longWait {
		facts := text(took)
		if len(facts) > 0 {
			p.Say(NoMark, facts[0]+": done after "+human.Took(took))
		}
	}
}

// oneRow is facts cut to the width, so that rewriting it leaves nothing behind.
func (p *Printer) oneRow(facts []string) string {
	return p.Muted.Render(p.CutEnd(prefix+p.Text(strings.Join(facts, p.Sep())), p.Width-1))
}
