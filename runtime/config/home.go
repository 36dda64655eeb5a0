package config

import (
	"fmt"
	"os/user"
	"path/filepath"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// A Home is the folder pillion keeps things in: ~/.pillion, unless
// PILLION_HOME says otherwise. Only its owner can read it.
type Home struct {
	Path string // absolute
}

// FindHome says where the home is; it makes nothing. Without HOME, as tools
// start us with a bare environment, the passwd entry counts.
func FindHome(getenv func(string) string) (Home, error) {
	if path := getenv("PILLION_HOME"); path != "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return Home{}, fmt.Errorf("find PILLION_HOME %q: %w", path, err)
		}
		return Home{abs}, nil
	}
	base := UserHome(getenv)
	if base == "" {
		return Home{}, &apperr.Error{
			Reason: apperr.OwnConfig,
			What:   "there is no home folder to keep things in",
			Cause:  "HOME is not set, and this user has no passwd entry with a folder",
			Hint:   "set HOME or PILLION_HOME",
		}
	}
	return Home{filepath.Join(base, ".pillion")}, nil
}

// UserHome is the user's home folder, or "".
func UserHome(getenv func(string) string) string {
	for _, name := range homeVariables {
		if dir := getenv(name); filepath.IsAbs(dir) {
			return dir
		}
	}
	u, err := user.Current()
	if err != nil || !filepath.IsAbs(u.HomeDir) {
		return ""
	}
	return u.HomeDir
}

// ConfigFile is the file of settings.
func (h Home) ConfigFile() string { return filepath.Join(h.Path, "config.yaml") }

// Resources is the folder of Dapr's resources.
func (h Home) Resources() string { return filepath.Join(h.Path, "resources") }

// Certs is the folder of the CA.
func (h Home) Certs() string { return filepath.Join(h.Path, "certs") }

// Logs is the folder of the logs.
func (h Home) Logs() string { return filepath.Join(h.Path, "logs") }

// Seen is the file of the names that answered within the last day.
func (h Home) Seen() string { return filepath.Join(h.Path, "seen.json") }

// State is the file of the built-in state store.
func (h Home) State() string { return filepath.Join(h.Path, "state.db") }
