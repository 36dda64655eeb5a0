package sidecar

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/sources"
)

const (
	// changesNamed bounds the files that are named where some have changed.
	changesNamed = 3
	// changesKept bounds those that are kept of changes that wait.
	changesKept = 100
)

// A watchedSources is the app's sources, if they are watched. Its zero value is
// sources that are not.
type watchedSources struct{ *sources.Watched }

// follow begins to watch the app's sources.
func (s *sidecar) follow(context.Context) error {
	if !s.watches() {
		return nil
	}
	paths := s.cfg.Watch
	if len(paths) == 1 && filepath.Clean(paths[0]) == "." {
		paths = nil // --watch alone: nobody has named it
	}
	watched, err := sources.Watch(sources.Options{
		Dir: s.workingFolder(), Paths: paths, Own: s.ownFiles(), Home: config.UserHome(lookupIn(s.env.Environ)),
		Files: s.files(), Logger: s.log,
	})
	s.sources.Watched = watched
	return err
}

// ownFiles are those that pillion reads and writes: it follows the first by
// itself.
func (s *sidecar) ownFiles() []string {
	own := slices.Concat(s.cfg.ResourcesPaths, s.cfg.ConfigFiles)
	for _, file := range []string{s.env.Home.Path, s.cfg.StateFile, s.cfg.RunFile, s.cfg.AppLogFile, s.cfg.SidecarLogFile} {
		if file != "" {
			own = append(own, file)
		}
	}
	for i, file := range own {
		if absolute, err := filepath.Abs(file); err == nil {
			own[i] = absolute
		}
	}
	return own
}

// changes gets the changes; nil, so never, without any.
func (w watchedSources) changes() <-chan sources.Changes {
	if w.Watched == nil {
		return nil
	}
	return w.Changed()
}

// build says that a build has begun, and end that it has ended: what it writes
// is no change.
func (w watchedSources) build() (end func()) {
	if w.Watched == nil {
		return func() {}
	}
	return w.Build()
}

// started says that a new process runs: what it writes time and again is none
// either.
func (w watchedSources) started() {
	if w.Watched != nil {
		w.Restarted()
	}
}

func (w watchedSources) close() {
	if w.Watched != nil {
		w.Close()
	}
}

// both are the changes of two times, of whose files the first are named.
func both(a, b sources.Changes) sources.Changes {
	paths := slices.Compact(slices.Sorted(slices.Values(slices.Concat(a.Paths, b.Paths))))
	total := max(len(paths), a.Total, b.Total)
	return sources.Changes{Paths: slices.Clip(paths[:min(len(paths), changesKept)]), Total: total}
}

// sayOwnWriting says which files do not count any more.
func (s *sidecar) sayOwnWriting(files []string) {
	if len(files) == 0 {
		return
	}
	s.say(Notice{
		Kind: Warning, Text: s.cfg.AppID + " seems to write " + some(files, len(files)) + " itself, each time it starts",
		Cause: "it is in what is watched, and would start it anew for ever; it does not count any more",
		Hint:  "write it elsewhere, ignore it by .gitignore, or name what counts by --watch=<paths>",
	})
}

// sayChanges says which files have changed.
func (s *sidecar) sayChanges(c sources.Changes) {
	if len(c.Paths) > 0 {
		s.say(Notice{Text: some(c.Paths, c.Total) + " changed"})
	}
}

// some are the first of so many files.
func some(files []string, total int) string {
	shown := files[:min(len(files), changesNamed)]
	if len(shown) < total {
		shown = shown[:1]
	}
	text := strings.Join(shown, ", ")
	if more := total - len(shown); more > 0 {
		text += " and " + human.Count(more, "more file")
	}
	return text
}
