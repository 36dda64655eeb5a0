package cmd

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/escape"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/logs"
	"github.com/pillion-dev/pillion/tls/identity"
)

// A logPrinter shows the lines of a query in one form.
type logPrinter interface {
	met([]logs.RunInfo) // before their first lines
	line(logs.Line) error
	ended(logs.RunInfo) error
	idle() error // there is nothing more just now
	done() error
	shown() bool
}

// printer makes the printer that -o asks for.
func (o logsOptions) printer(c *ui.Console, q logs.Query) logPrinter {
	switch o.output {
	case logJSON:
		return &logObjects{out: bufio.NewWriterSize(c.Out, 32<<10)}
	case logRaw:
		return &logBytes{out: bufio.NewWriterSize(c.Out, 32<<10)}
	}
	rows := newLogRows(c, o, q.Runs)
	rows.until = q.Until
	return rows
}

// heldFor is how long a line about a run's end waits for the end.
const heldFor = 2 * time.Second

// logRows shows lines for people.
type logRows struct {
	view  *ui.LogView
	names bool
	many  bool      // apps
	rules bool      // a terminal
	going bool      // we follow
	until time.Time // runs that ended later have not ended for us

	runs      map[runKey]logs.RunInfo
	begun     map[runKey]bool
	instances map[logs.App]map[string]bool
	// held is the line of ours that tells how the run ended; the rule does, too.
	held    *ui.LogRow
	heldKey runKey
	heldAt  time.Time
}

// A runKey names a run.
type runKey struct {
	app logs.App
	run int
}

func keyOf(run logs.RunInfo) runKey {
	return runKey{logs.App{Namespace: run.Namespace, Name: run.App}, run.Run}
}

func newLogRows(c *ui.Console, o logsOptions, runs []logs.RunInfo) *logRows {
	r := &logRows{
		rules: c.Out.TTY, going: o.follow, runs: map[runKey]logs.RunInfo{}, begun: map[runKey]bool{}, instances: map[logs.App]map[string]bool{},
	}
	apps := map[logs.App]bool{}
	for _, run := range runs {
		key := keyOf(run)
		r.runs[key] = run
		apps[key.app] = true
		r.meet(key.app, run.Instance)
	}
	// Who follows everything may meet other apps: the names are there from the
	// first line on.
	r.names = !o.noPrefix && (len(runs) > 1 && (len(apps) > 1 || o.run == "") || o.follow && len(o.apps) != 1)
	r.many = len(apps) > 1 || len(o.apps) == 0
	var names []string
	for _, run := range runs {
		names = append(names, r.name(run.App, run.Namespace, run.Instance))
	}
	r.view = ui.NewLogView(c.Out, ui.LogOptions{Names: r.names, Times: o.times, Now: time.Now}, ui.Names(names))
	return r
}

// meet notes that an app has this instance.
func (r *logRows) meet(app logs.App, instance string) {
	if r.instances[app] == nil {
		r.instances[app] = map[string]bool{}
	}
	r.instances[app][instance] = true
}

// name is what stands in front of a line: the app, and what it takes to tell
// it from others.
func (r *logRows) name(app, namespace, instance string) string {
	name := app
	if namespace != identity.DefaultNamespace {
		name += "." + namespace
	}
	if len(r.instances[logs.App{Namespace: namespace, Name: app}]) > 1 && instance != "" {
		name += "/" + instance
	}
	return name
}

func (r *logRows) met(runs []logs.RunInfo) {
	for _, run := range runs {
		r.runs[keyOf(run)] = run
	}
}

func (r *logRows) line(l logs.Line) error {
	if err := r.release(); err != nil {
		return err
	}
	key := runKey{logs.App{Namespace: l.Namespace, Name: l.App}, l.Run}
	if !r.begun[key] {
		r.begun[key] = true
		r.meet(key.app, l.Instance)
		if err := r.begin(key, l); err != nil {
			return err
		}
	}
	row := ui.LogRow{
		Who: r.name(l.App, l.Namespace, l.Instance), Time: l.Time,
		Ours: l.Stream == logs.Pillion || l.Stream == logs.Gap, Warning: l.Stream == logs.Gap,
		Text: l.Text, Continues: l.Continues, Continued: l.Continued,
	}
	if r.rules && !r.names && l.Stream == logs.Pillion && bytes.Contains(l.Text, []byte(" ended")) {
		row.Text = append([]byte{}, l.Text...)
		r.held, r.heldKey, r.heldAt = &row, key, time.Now()
		return nil
	}
	if r.names && l.Stream == logs.Pillion {
		row.Text = []byte(ui.Shorter(string(l.Text), l.App)) // it stands in front
	}
	return r.view.Row(row)
}

// release shows the line that was held back.
func (r *logRows) release() error {
	if r.held == nil {
		return nil
	}
	row := *r.held
	r.held = nil
	return r.view.Row(row)
}

// begin draws the rule in front of a run.
func (r *logRows) begin(key runKey, l logs.Line) error {
	run := r.runs[key]
	if last := r.view.Last(); r.names && (last.IsZero() || run.Start.Before(last)) {
		return nil // it did not begin here
	}
	title := ui.RunName(l.Run)
	if r.names || r.many {
		title = r.name(l.App, l.Namespace, l.Instance) + " " + title
	}
	return r.view.Rule(run.Start, title, r.view.When(run.Start), shellCommand(run.Command))
}

// ended draws the rule behind a run. Merged, the run's own last line tells.
func (r *logRows) ended(run logs.RunInfo) error {
	key := keyOf(run)
	if r.going { // those that come later take its place
		delete(r.instances[key.app], run.Instance)
	}
	if r.names || !r.begun[key] || !r.until.IsZero() && run.End.After(r.until) {
		return r.release()
	}
	if r.held != nil && r.heldKey == key && run.State == logs.Ended {
		r.held = nil // said by the rule
	}
	if err := r.release(); err != nil {
		return err
	}
	clock := run.End.Local().Format(time.TimeOnly)
	if run.State == logs.Lost {
		return r.view.Rule(run.End, "lost "+clock, "pillion was killed or the machine stopped")
	}
	return r.view.Rule(run.End, "ended "+clock, run.Exit, "ran "+human.Took(run.End.Sub(run.Start)), lostLines(run))
}

func lostLines(run logs.RunInfo) string {
	if run.LostLines == 0 {
		return ""
	}
	return human.Count(run.LostLines, "line") + " not kept"
}

// idle shows what is held unless the rule that replaces it may yet come.
func (r *logRows) idle() error {
	if r.held != nil && time.Since(r.heldAt) < heldFor {
		return r.view.Flush()
	}
	return r.done()
}

func (r *logRows) done() error {
	if err := r.release(); err != nil {
		return err
	}
	return r.view.Flush()
}

func (r *logRows) shown() bool { return r.view.Shown() }

// logObjects writes one JSON object a line.
type logObjects struct {
	out  *bufio.Writer
	some bool
}

// A logObject is a line as JSON. A key, once out, stays; what is unknown is
// null.
type logObject struct {
	Time      string  `json:"time"`
	App       string  `json:"app"`
	Instance  *string `json:"instance"`
	Run       int     `json:"run"`
	Stream    string  `json:"stream"`
	Line      *string `json:"line,omitempty"`
	Base64    string  `json:"lineBase64,omitempty"`
	Namespace string  `json:"namespace,omitempty"` // where it is not default
	Continues bool    `json:"continues,omitempty"`
	Continued bool    `json:"continued,omitempty"`
}

// inWords is a line without the signs that ours have for terminals.
func inWords(l logs.Line) logs.Line {
	if l.Stream == logs.Pillion {
		l.Text = []byte(ui.Plainly(string(l.Text)))
	}
	return l
}

const jsonTime = "2006-01-02T15:04:05.000Z"

func (p *logObjects) line(l logs.Line) error {
	p.some = true
	l = inWords(l)
	o := logObject{
		Time: l.Time.UTC().Format(jsonTime), App: l.App, Instance: known(l.Instance), Run: l.Run,
		Stream: l.Stream.String(), Continues: l.Continues, Continued: l.Continued,
	}
	if l.Namespace != identity.DefaultNamespace {
		o.Namespace = l.Namespace
	}
	if utf8.Valid(l.Text) {
		text := string(escape.Text(l.Text))
		o.Line = &text
	} else {
		o.Base64 = base64.StdEncoding.EncodeToString(l.Text)
	}
	encoder := json.NewEncoder(p.out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(o)
}

func (p *logObjects) met([]logs.RunInfo)       {}
func (p *logObjects) ended(logs.RunInfo) error { return nil }
func (p *logObjects) idle() error              { return p.out.Flush() }
func (p *logObjects) done() error              { return p.out.Flush() }
func (p *logObjects) shown() bool              { return p.some }

// logBytes writes what was written, byte for byte.
type logBytes struct {
	out  *bufio.Writer
	some bool
}

func (p *logBytes) line(l logs.Line) error {
	p.some = true
	l = inWords(l)
	_, err := p.out.Write(l.Text)
	if err == nil && !l.Continues {
		err = p.out.WriteByte('\n')
	}
	return err
}

func (p *logBytes) met([]logs.RunInfo)       {}
func (p *logBytes) ended(logs.RunInfo) error { return nil }
func (p *logBytes) idle() error              { return p.out.Flush() }
func (p *logBytes) done() error              { return p.out.Flush() }
func (p *logBytes) shown() bool              { return p.some }
