package cmd

import (
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/sidecar"
	"github.com/pillion-dev/pillion/runtime/stack"
)

// A stackStage is where the apps of a run file, their command and our lines
// meet.
type stackStage struct {
	c       *ui.Console
	plan    stackPlan
	began   time.Time
	board   *ui.Board
	theatre *theatre // the command's; nil without one
	members []*member

	mu       sync.Mutex // guards what follows
	status   []stack.Status
	settled  bool // it was said that all are ready
	stopping bool
	warned   map[int]string // the last warning of an app
}

// newStackStage shares the terminal among the apps, the command and us.
func newStackStage(c *ui.Console, plan stackPlan) *stackStage {
	names := stackNames(plan.file.Apps)
	s := &stackStage{
		c: c, plan: plan, began: time.Now(), status: make([]stack.Status, len(names)), warned: map[int]string{},
	}
	o := ui.BoardOptions{Err: c.Err, Names: names}
	shared := sameFiles(c.Out.File(), c.Err.File())
	switch {
	case plan.command != nil: // Out is its answer's
		s.theatre = sharedTheatre(c, shared)
		o.Footer = c.Err.Terminal()
	case shared && c.Err.Terminal():
		o.Footer = true
	default:
		o.Out = c.Out
	}
	s.board = ui.NewBoard(o)
	for i, app := range plan.file.Apps {
		s.members = append(s.members, newMember(s, i, names[i], app))
	}
	s.footer()
	return s
}

// sharedTheatre is newTheatre for a command that speaks between others: its
// stream of errors is shared with them also where it is no terminal.
func sharedTheatre(c *ui.Console, shared bool) *theatre {
	stage := ui.NewStage(c.Err)
	t := &theatre{out: c.Out, err: stage.App(), printer: c.Err.Through(stage.Ours()), stages: []*ui.Stage{stage}}
	if shared {
		t.out = stage.App()
		if c.Err.Terminal() {
			t.terminal = c.Out.File()
		}
	}
	return t
}

// terminal is the terminal that shows what apps write; nil if they write to
// pipes.
func (s *stackStage) terminal() *os.File {
	if s.c.Err.Terminal() && (s.plan.command != nil || sameFiles(s.c.Out.File(), s.c.Err.File())) {
		return s.c.Err.File()
	}
	return nil
}

func sameFiles(a, b *os.File) bool { return a != nil && b != nil && sameFile(a, b) }

// stack is what is run.
func (s *stackStage) stack(hurry <-chan struct{}, run runFunc) stack.Stack {
	out := stack.Stack{
		Environ: os.Environ(), Run: run, Changed: s.changed, Begun: s.begun, Stopping: s.stopped,
	}
	for _, m := range s.members {
		cfg := m.cfg
		cfg.Spared = s.plan.file.Ports()
		out.Apps = append(out.Apps, stack.App{Config: cfg, Env: sidecar.Env{
			Home: s.plan.home, Environ: os.Environ(), Out: m.out, Err: m.err,
			Terminal: s.terminal(), Margin: s.board.Margin(), Say: m.say, Hurry: hurry,
		}})
	}
	if s.plan.command != nil {
		out.Command = &stack.App{Config: *s.plan.command, Env: s.commandEnv(hurry)}
	}
	return out
}

// changed notes how an app is now.
func (s *stackStage) changed(i int, now stack.Status) {
	s.mu.Lock()
	s.status[i] = now
	s.mu.Unlock()
	s.footer()
	if now.Over() {
		s.members[i].over(now)
		return
	}
	if now.Launched && !s.members[i].listens() {
		s.saySettled() // others say themselves that they are ready
	}
}

// footer shows how everybody is.
func (s *stackStage) footer() {
	s.mu.Lock()
	parts := make([]ui.FooterPart, len(s.members))
	for i, m := range s.members {
		parts[i] = m.part(s.status[i])
	}
	s.mu.Unlock()
	s.board.Footer(parts)
}

// saySettled says once that every app is ready.
func (s *stackStage) saySettled() {
	s.mu.Lock()
	ready := !s.settled && !s.stopping && s.plan.command == nil
	for _, st := range s.status {
		ready = ready && st.Ready && !st.Over()
	}
	s.settled = s.settled || ready
	s.mu.Unlock()
	if ready && len(s.members) > 1 {
		s.board.Say(func(p *ui.Printer) {
			p.Say(ui.MarkOK, "all "+human.Count(len(s.members), "app")+" of "+s.plan.title()+" are ready", "took "+human.Took(time.Since(s.began)))
		})
	}
	if ready && s.c.Name == nameDapr {
		s.board.Line(upAndRunning(true))
	}
}

// begun gives the terminal to the command.
func (s *stackStage) begun() {
	s.board.Say(func(p *ui.Printer) {
		facts := []string{human.Count(len(s.members), "app") + " ready in " + human.Took(time.Since(s.began))}
		p.Say(ui.MarkOK, append(facts, "running "+ui.Printable(shellCommand(s.plan.command.Command)))...)
	})
	s.board.Through(s.theatre.stages[0].Ours())
}

// stopped says that the apps are being stopped.
func (s *stackStage) stopped() {
	s.mu.Lock()
	s.stopping = true
	left := 0
	for _, st := range s.status {
		if !st.Over() {
			left++
		}
	}
	s.mu.Unlock()
	facts := []string{"stopping " + human.Count(left, "app")}
	if s.c.Interactive() {
		facts = append(facts, "Ctrl-C again to stop now")
	}
	if left > 0 {
		s.board.Say(func(p *ui.Printer) { p.Say(ui.NoMark, facts...) })
	}
}

func (s *stackStage) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// echoed notes that the terminal showed what is in no write, such as ^C.
func (s *stackStage) echoed() {
	if s.theatre != nil {
		s.theatre.echoed()
	}
}

// close shows what was held back and ends the board.
func (s *stackStage) close() {
	for _, m := range s.members {
		m.close()
	}
	s.board.Close()
	if s.theatre != nil {
		s.theatre.close()
	}
}

// sayOfCommand tells what is worth a line of the command's own sidecar: it is
// nobody's callee.
func (s *stackStage) sayOfCommand(n sidecar.Notice) {
	ended := strings.HasPrefix(n.Text, s.plan.command.AppID+" ended")
	if n.Kind == sidecar.Good || n.Kind == sidecar.Info && !ended {
		return
	}
	s.board.Say(func(p *ui.Printer) { (&theatre{printer: p}).say(n) })
}

// part is the app in the bottom row.
func (m *member) part(st stack.Status) ui.FooterPart {
	p := ui.FooterPart{Name: m.name}
	switch {
	case st.Failed():
		p.Mark, p.Tone, p.Word = ui.MarkFailed, ui.ToneBad, "not started"
		if st.End != nil {
			p.Word = st.End.Status
		}
	case st.End != nil:
		p.Mark, p.Tone, p.Word = ui.MarkSkipped, ui.ToneMuted, st.End.Status
	case st.Stale != "" && st.State == discovery.Ready:
		p.Mark, p.Tone, p.Word = ui.MarkWarning, ui.ToneWarn, staleWord
	case st.State == discovery.Ready, st.Ready && st.State == discovery.Starting:
		p.Mark = ui.MarkOK
	case st.State == discovery.Draining:
		p.Tone, p.Word = ui.ToneWarn, "stopping"
	case st.State == discovery.Restarting:
		p.Mark, p.Tone, p.Word = ui.MarkRestarts, ui.ToneWarn, "restarting"
	case st.Launched && st.Ready:
		p.Mark, p.Tone, p.Word = ui.MarkWarning, ui.ToneWarn, string(st.State)
	default:
		p.Tone, p.Word = ui.ToneWarn, "starting"
	}
	return p
}

// listens reports whether the app has promised to.
func (m *member) listens() bool { return m.cfg.AppPort != 0 || m.cfg.AppPortAuto }

// inFile says our words about flags in those of a run file.
func inFile(text string) string { return config.InRunFile(text) }
