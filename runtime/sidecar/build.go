package sidecar

import (
	"context"
	"regexp"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/supervisor"
)

// isBuilt reports whether the app is built before it is started.
func (s *sidecar) isBuilt() bool { return s.cfg.Build != "" }

// build runs the build command and waits for it. Nothing is left of it, also if
// ctx ends first. Its output is talk: it goes where errors go, and is kept.
func (s *sidecar) build(ctx context.Context) error {
	s.say(Notice{Text: "building " + s.cfg.AppID, Facts: []string{s.cfg.Build}})
	s.discardable.Store(true)
	defer s.discardable.Store(false)
	defer s.sources.build()()
	last := new(tail)
	p, err := supervisor.Start(ctx, supervisor.Spec{
		Command: shell(s.cfg.Build), Dir: s.cfg.Dir,
		Env: environ(s.env.Environ, s.cfg, s.http.port, s.grpc.port),
		Out: s.env.Err, Err: s.env.Err, Terminal: s.env.Terminal, Margin: s.env.Margin,
		Log: last.beside(s.logWriter),
	})
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		_ = p.Kill() // Wait has its error
		_, _ = p.Wait()
		return context.Cause(ctx)
	}
	exit, err := p.Wait()
	if err != nil {
		return err
	}
	if exit.Code == 0 {
		return nil
	}
	e := &apperr.Error{
		Reason: apperr.NotExecutable, What: "the build failed: " + exit.String(), Cause: telling(last.last()),
		Hint: "see pillion logs " + s.cfg.AppID,
	}
	if s.watches() {
		e.Hint = "the next change builds again; " + e.Hint
	}
	return e
}

// mistake is how compilers begin a line about a mistake: file, line.
var mistake = regexp.MustCompile(`^\S.*:\d+[:,)]|^\S.*\(\d+,\d+\)`)

// telling is the line of an output that says most likely what is wrong: the
// first that names a line of a file, or the last one.
func telling(lines []string) string {
	out := ""
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if mistake.MatchString(line) {
			return line
		}
		if line != "" {
			out = line
		}
	}
	return out
}
