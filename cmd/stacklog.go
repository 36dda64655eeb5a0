package cmd

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/escape"
	"github.com/pillion-dev/pillion/runtime/config"
)

// A daprLog is a log file where Dapr has one. It is beside the run's own log,
// and its loss is no reason to stop. A nil one is none.
type daprLog struct {
	mu   sync.Mutex // guards what follows
	file *os.File
}

// daprStamp is the time in the names of Dapr's log files.
const daprStamp = "20060102150405"

// maxLogLine is how much of a line is held before it is written in parts.
const maxLogLine = 64 << 10

// openDaprLogs opens the log files that an app's run file asks for. failed is
// told of one that cannot be made.
func openDaprLogs(app config.StackApp, now time.Time, failed func(error)) (forApp, forSidecar *daprLog) {
	open := func(where config.LogDestination, kind string) *daprLog {
		if !where.ToFile() {
			return nil
		}
		name := filepath.Join(app.LogFolder(), app.AppID+"_"+kind+"_"+now.Format(daprStamp)+".log")
		err := os.MkdirAll(app.LogFolder(), 0o700)
		var f *os.File
		if err == nil {
			f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600) //nolint:gosec // the user's own folder
		}
		if err != nil {
			failed(reasonOf(err))
			return nil
		}
		return &daprLog{file: f}
	}
	return open(app.AppLog, "app"), open(app.SidecarLog, "daprd")
}

// reasonOf is the reason inside a path error.
func reasonOf(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}

// path is the file's; "" of none.
func (l *daprLog) path() string {
	if l == nil {
		return ""
	}
	return l.file.Name()
}

// note writes a line of the sidecar's.
func (l *daprLog) note(text string) {
	if l != nil {
		l.write([]byte(time.Now().UTC().Format(time.RFC3339Nano) + " " + ui.Plainly(text) + "\n"))
	}
}

func (l *daprLog) write(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.file.Write(b) // a full disk: the run's own log says so
}

func (l *daprLog) close() {
	if l != nil {
		_ = l.file.Close() // what could be written was
	}
}

// lines is a writer of one stream, with prefix in front of each line.
func (l *daprLog) lines(prefix string) io.Writer { return &daprLines{log: l, prefix: prefix} }

type daprLines struct {
	log    *daprLog
	prefix string
	held   []byte
}

// Write implements io.Writer; it does not fail.
func (d *daprLines) Write(p []byte) (int, error) {
	d.held = append(d.held, p...)
	for {
		line, rest, ended := bytes.Cut(d.held, []byte{'\n'})
		if !ended && len(line) < maxLogLine {
			return len(p), nil
		}
		out := append([]byte(d.prefix), escape.Text(line)...)
		d.log.write(append(out, '\n'))
		d.held = rest
	}
}
