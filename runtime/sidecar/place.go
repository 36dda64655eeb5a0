package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"syscall"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/supervisor"
	"github.com/pillion-dev/pillion/tls/ca"
)

// A place is where an instance lives: its home's authority and the runtime
// folder of that authority's trust domain.
type place struct {
	home      config.Home
	authority *ca.CA
	folder    *rundir.Dir
}

// openPlace opens home, making its authority on first use, and the runtime
// folder.
func openPlace(ctx context.Context, home config.Home, getenv func(string) string, log *slog.Logger) (*place, error) {
	if home.Path == "" {
		return openPassing(getenv, log)
	}
	authority, made, err := ca.Ensure(ctx, home.Certs(), ca.Options{Logger: log})
	if err != nil {
		return nil, err
	}
	if made {
		log.Debug("authority made", "folder", home.Certs())
	}
	folder, err := rundir.Open(rundir.Base(getenv), authority.Fingerprint())
	if err != nil {
		return nil, err
	}
	return &place{home: home, authority: authority, folder: folder}, nil
}

// openPassing is a place without a home: its authority is gone with the
// process.
func openPassing(getenv func(string) string, log *slog.Logger) (*place, error) {
	authority, err := ca.Ephemeral(ca.Options{Logger: log})
	if err != nil {
		return nil, err
	}
	folder, err := rundir.Open(rundir.Base(getenv), authority.Fingerprint())
	if err != nil {
		return nil, err
	}
	log.Warn("there is no home folder: the identity is kept in memory, and no other sidecar knows it",
		"hint", "set HOME or PILLION_HOME")
	return &place{authority: authority, folder: folder}, nil
}

// prepare opens the home and looks for what would make this run a mistake,
// before anything is bound or started.
func (s *sidecar) prepare(ctx context.Context) error {
	if len(s.cfg.Command) > 0 && !s.isBuilt() { // the build may make it
		if _, err := supervisor.Lookup(s.cfg.Command[0], s.cfg.Dir, s.env.Environ); err != nil {
			return err
		}
	}
	var err error
	s.place, err = openPlace(ctx, s.env.Home, lookupIn(s.env.Environ), s.log)
	if err != nil && s.needsNoHome() && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
		// As in a container whose files are read-only.
		s.say(Notice{Kind: Warning, Text: "nothing is kept in " + s.env.Home.Path, Cause: reasonOf(err)})
		s.env.Home = config.Home{}
		s.place, err = openPassing(lookupIn(s.env.Environ), s.log)
	}
	if err != nil {
		return err
	}
	return s.checkTwins()
}

// needsNoHome reports whether the sidecar can do without an identity that
// others know.
func (s *sidecar) needsNoHome() bool { return s.cfg.ClearMesh() }

// checkTwins looks for instances of the same app ID that are something else:
// another folder or another command. Nobody chose a derived ID, so it may not
// be one that is taken; a chosen one only warns.
func (s *sidecar) checkTwins() error {
	live, err := s.place.folder.Entries()
	if err != nil {
		return err
	}
	folder := s.workingFolder()
	for _, e := range live {
		if e.App != s.cfg.AppID || e.Namespace != s.cfg.Namespace {
			continue
		}
		elsewhere := e.Folder != folder
		switch {
		case elsewhere && s.cfg.Derived:
			return &apperr.Error{
				Reason: apperr.Usage,
				What:   fmt.Sprintf("%s is already run from %s", e.App, tilde(e.Folder)),
				Cause:  fmt.Sprintf("nobody chose the name: both folders are called so (pid %d)", e.PID),
				Hint:   "give one of them --app-id",
			}
		case elsewhere || !slices.Equal(e.Command, s.cfg.Command):
			s.say(Notice{
				Kind:  Warning,
				Text:  fmt.Sprintf("two different programs are called %s: calls go to both", e.App),
				Cause: fmt.Sprintf("%s in %s (pid %d), and this one: %s in %s", commandLine(e.Command), tilde(e.Folder), e.PID, commandLine(s.cfg.Command), tilde(folder)),
				Hint:  "give one of them another --app-id, if that is not meant",
			})
			return nil
		}
	}
	return nil
}

func commandLine(command []string) string {
	if len(command) == 0 {
		return "a sidecar alone"
	}
	return strings.Join(command, " ")
}

// lookupIn is os.Getenv for a given environment.
func lookupIn(environ []string) func(string) string {
	return func(name string) string {
		for _, pair := range slices.Backward(environ) {
			if key, value, _ := strings.Cut(pair, "="); key == name {
				return value
			}
		}
		return ""
	}
}
