package cmd

import (
	"io"
	"strings"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/sidecar"
	"github.com/pillion-dev/pillion/runtime/stack"
)

// A member is one app of a stack, as it is shown.
type member struct {
	stage   *stackStage
	index   int
	name    string // in front of its lines
	cfg     config.Sidecar
	speaker *ui.Speaker
	// out and err take its output.
	out, err io.Writer
	feeds    []*ui.Feed
	// records shows those of its sidecar's log, which Dapr puts into a file.
	records bool
	// appLog and sidecarLog are Dapr's log files; nil unless asked for.
	appLog, sidecarLog *daprLog
}

func newMember(s *stackStage, i int, name string, app config.StackApp) *member {
	m := &member{stage: s, index: i, name: name, cfg: app.Sidecar}
	m.records = app.SidecarLog != "" && app.SidecarLog.ToConsole()
	m.speaker = s.board.Speaker(name, app.AppLog.ToConsole())
	m.appLog, m.sidecarLog = openDaprLogs(app, s.began, func(err error) {
		m.speaker.Say("warning: no log file in " + app.LogFolder() + "; cause: " + err.Error())
	})
	m.cfg.AppLogFile, m.cfg.SidecarLogFile = m.appLog.path(), m.sidecarLog.path()
	m.out, m.err = m.stream(true), m.stream(false)
	return m
}

// stream is where one of its outputs goes.
func (m *member) stream(out bool) io.Writer {
	feed := m.speaker.Stream(out)
	m.feeds = append(m.feeds, feed)
	if m.appLog == nil {
		return feed
	}
	return io.MultiWriter(m.appLog.lines("== APP - "+m.cfg.AppID+" == "), feed)
}

// say shows a line of its sidecar's. Where the name stands in front, what can
// be asked for otherwise is left out.
func (m *member) say(n sidecar.Notice) {
	m.sidecarLog.note(n.String())
	n.More, n.Aside = nil, ""
	if m.isKnown(n) {
		return
	}
	if n.Kind == sidecar.Warning {
		m.stage.mu.Lock()
		m.stage.warned[m.index] = inFile(n.Text)
		m.stage.mu.Unlock()
	}
	m.speaker.Say(inFile(ui.Shorter(n.String(), m.cfg.AppID)))
	for _, line := range n.Lines {
		m.speaker.Say("| " + ui.Printable(line))
	}
	if n.Kind == sidecar.Good {
		m.stage.saySettled()
	}
}

// isKnown reports whether a line of the sidecar's is no news in a stack.
func (m *member) isKnown(n sidecar.Notice) bool {
	switch {
	case n.Kind == sidecar.Good:
		return !m.listens() && strings.HasPrefix(n.Text, m.cfg.AppID+" opens no port:") // so its file says
	case n.Kind != sidecar.Info:
		return false
	case n.Record:
		return !m.records
	case m.stage.isStopping(): // one line has said it of all
		return m.stage.plan.command != nil || strings.HasPrefix(n.Text, "stopping ") && len(n.Facts) == 0
	case strings.HasPrefix(n.Text, m.cfg.AppID+" is starting"):
		return !m.listens() || m.stage.board.HasFooter() // its file promises no port; the bottom row says so
	}
	return false
}

// over tells the end of an app that ended badly: its last lines, if nobody can
// see them any more.
func (m *member) over(st stack.Status) {
	for _, f := range m.feeds {
		f.Flush()
	}
	if !st.Failed() || m.stage.isStopping() {
		return
	}
	if st.Err != nil {
		m.speaker.Say("✗ not run · " + inFile(apperr.From(st.Err).What))
	}
	if last := m.speaker.Last(); len(last) > 0 {
		m.speaker.Say("its last lines:")
		m.speaker.Repeat(last)
	}
}

func (m *member) close() {
	for _, f := range m.feeds {
		f.Flush()
	}
	m.appLog.close()
	m.sidecarLog.close()
}
