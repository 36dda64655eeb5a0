package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/near"
)

// A RestartPolicy is when an app's process that ended is started again.
type RestartPolicy string

// The policies. The empty one is RestartNo.
const (
	RestartNo        RestartPolicy = "no"
	RestartOnFailure RestartPolicy = "on-failure" // it ended with another status than 0
	RestartAlways    RestartPolicy = "always"
)

// RestartPolicies are the words there are.
var RestartPolicies = []string{string(RestartNo), string(RestartOnFailure), string(RestartAlways)}

// SetCommand sets what is run. Without a command only what was given about one
// stays, for Validate to report: the environment and the file of settings speak
// of all apps, those that have none as well.
func (c *Sidecar) SetCommand(command []string, given Given) {
	c.Command = command
	if len(command) > 0 {
		return
	}
	if given["watch"] == nil {
		c.Watch = nil
	}
	if given["build"] == nil {
		c.Build = ""
	}
	if given["restart"] == nil {
		c.Restart = ""
	}
}

// WatchPaths are the files and folders that are watched, absolute where Dir is.
func (c Sidecar) WatchPaths() []string {
	out := make([]string, len(c.Watch))
	for i, path := range c.Watch {
		if out[i] = filepath.Clean(path); !filepath.IsAbs(path) {
			out[i] = filepath.Join(c.Dir, path)
		}
	}
	return out
}

// setWatch takes paths, or true for the app's folder and false for nothing.
func setWatch(c *Sidecar, values []string) error {
	c.Watch = list(values)
	if len(c.Watch) == 1 {
		switch c.Watch[0] {
		case "true":
			c.Watch = []string{"."}
		case "false":
			c.Watch = nil
		}
	}
	return nil
}

func setBuild(c *Sidecar, values []string) error {
	c.Build = strings.TrimSpace(last(values))
	return nil
}

// setRestart takes what YAML makes of a no, too.
func setRestart(c *Sidecar, values []string) error {
	c.Restart = RestartPolicy(last(values))
	if c.Restart == "false" {
		c.Restart = RestartNo
	}
	return nil
}

// fromHome puts the user's home in the place of a tilde, which no shell does
// behind an equals sign.
func fromHome(paths []string, getenv func(string) string) []string {
	for i, path := range paths {
		if rest, ok := afterTilde(path); ok {
			if home := UserHome(getenv); home != "" {
				paths[i] = filepath.Join(home, rest)
			}
		}
	}
	return paths
}

// afterTilde is what follows the tilde that stands for the user's home.
func afterTilde(path string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, "~")
	return rest, ok && (rest == "" || rest[0] == '/' || rest[0] == filepath.Separator)
}

// checkRestart returns what is wrong with how the command is built, watched
// and started again.
func (c Sidecar) checkRestart() []error {
	var errs []error
	for _, s := range []struct {
		flag string
		said bool
	}{
		{"--watch", len(c.Watch) > 0},
		{"--build", c.Build != ""},
		{"--restart", c.Restart != "" && c.Restart != RestartNo},
	} {
		if s.said && len(c.Command) == 0 {
			errs = append(errs, &apperr.Error{
				Reason: apperr.Usage, What: s.flag + " is about a command, and there is none",
				Hint: "add the command, or leave " + s.flag + " out",
			})
		}
	}
	errs = append(errs, word("--restart", string(c.Restart), RestartPolicies))
	for i := range c.Watch {
		errs = append(errs, c.checkWatch(i))
	}
	return errs
}

// checkWatch returns why there is nothing at a path that is watched. What a
// pattern finds may be made later.
func (c Sidecar) checkWatch(i int) error {
	path := c.WatchPaths()[i]
	_, err := os.Stat(path)
	if err == nil || strings.ContainsAny(c.Watch[i], "*?[") {
		return nil
	}
	e := &apperr.Error{
		Reason: apperr.Usage, Err: err,
		What:  fmt.Sprintf("--watch: %q cannot be read", c.Watch[i]),
		Cause: fmt.Sprintf("%s: %v", path, bare(err)),
	}
	var names []string
	entries, _ := os.ReadDir(filepath.Dir(path)) // what cannot be read has no names to offer
	for _, one := range entries {
		names = append(names, one.Name())
	}
	if meant := near.Match(filepath.Base(path), names); meant != "" {
		e.Hint = "did you mean " + filepath.Join(filepath.Dir(c.Watch[i]), meant) + "?"
	}
	return e
}
