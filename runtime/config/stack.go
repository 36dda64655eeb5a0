package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// stackFile is the run file of a folder.
const stackFile = "dapr.yaml"

// A Stack is what a run file of Dapr's says: several apps that are run
// together.
type Stack struct {
	// Path is the file, absolute; empty if it was read from standard input.
	// Folder is what its paths are relative to.
	Path, Folder string
	// Title is the file as it was named by the person.
	Title string
	// Name is the template's name; empty if it has none.
	Name string
	// Apps are in the file's order.
	Apps []StackApp
	// Warnings are what was passed over, such as keys nobody knows. NoEffect are
	// the keys that were given and mean nothing here.
	Warnings []*apperr.Error
	NoEffect []string
}

// A StackApp is one app of a stack.
type StackApp struct {
	Sidecar
	// AppLog and SidecarLog are where the output goes; empty where the file does
	// not say.
	AppLog, SidecarLog LogDestination
}

// A LogDestination is a word of Dapr's for where lines go.
type LogDestination string

// The destinations.
const (
	LogToFile    LogDestination = "file"
	LogToConsole LogDestination = "console"
	LogToBoth    LogDestination = "fileAndConsole"
)

// ToFile and ToConsole report where lines go. A destination nobody chose goes
// to the console: the run's own log is kept in any case.
func (d LogDestination) ToFile() bool { return d == LogToFile || d == LogToBoth }

// ToConsole reports whether lines are shown.
func (d LogDestination) ToConsole() bool { return d != LogToFile }

// LogFolder is where Dapr keeps an app's log files.
func (a StackApp) LogFolder() string { return filepath.Join(a.Dir, ".dapr", "logs") }

// ID is the name a stack is known by where it needs one: its template's, else
// its file's, or its folder's for a dapr.yaml.
func (s Stack) ID() string {
	base := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(s.Path), ".yaml"), ".yml")
	switch {
	case s.Name != "":
		return DeriveAppID(s.Name)
	case s.Path == "" || base == strings.TrimSuffix(stackFile, ".yaml"):
		return DeriveAppID(s.Folder)
	}
	return DeriveAppID(base)
}

// Ports are all ports that apps of the stack were given. Nobody else of the
// stack may take one.
func (s Stack) Ports() []uint16 {
	var all []uint16
	for _, a := range s.Apps {
		for _, n := range []uint16{a.AppPort, a.HTTPPort, a.GRPCPort, a.MeshPort, a.ProfilePort, a.MetricsPort} {
			if n != 0 {
				all = append(all, n)
			}
		}
	}
	return all
}

// StackSource is where a stack is read from and what else is said.
type StackSource struct {
	// Path is a file, a folder with a dapr.yaml, or - for In.
	Path string
	In   io.Reader
	// Given, Getenv and File are as Resolve has them; Given is for every app.
	Given  Given
	Getenv func(string) string
	File   File
}

// LoadStack reads a run file and what it says about each app: app, then
// common, then the environment and the file of settings, then the defaults.
// Everything wrong is reported, joined, with file, line and column.
func LoadStack(src StackSource) (Stack, error) {
	s, data, err := openStack(src)
	if err != nil {
		return s, err
	}
	r := &stackReader{
		File:  File{path: s.Title, lines: strings.Split(string(data), "\n")},
		src:   src,
		stack: &s,
	}
	r.read(data)
	for i := range r.apps {
		r.resolve(&r.apps[i])
	}
	r.compare()
	return s, r.errors()
}

// openStack finds and reads the file.
func openStack(src StackSource) (Stack, []byte, error) {
	if src.Path == "-" {
		data, err := io.ReadAll(io.LimitReader(src.In, maxFile+1))
		if err == nil && len(data) > maxFile {
			err = errors.New("it is larger than 1 MiB")
		}
		s := Stack{Title: "standard input"}
		if err == nil {
			s.Folder, err = os.Getwd()
		}
		return s, data, unreadableStack(s.Title, err)
	}
	s := Stack{Title: src.Path}
	if info, err := os.Stat(src.Path); err == nil && info.IsDir() {
		s.Title = filepath.Join(src.Path, stackFile)
	} else if err == nil && !isYAML(src.Path) {
		return s, nil, &apperr.Error{
			Reason: apperr.Usage,
			What:   fmt.Sprintf("%s is no run file", src.Path),
			Cause:  "its name ends neither in .yaml nor in .yml",
		}
	}
	data, err := readBounded(s.Title)
	if err == nil {
		s.Path, err = filepath.Abs(s.Title)
	}
	s.Folder = filepath.Dir(s.Path)
	return s, data, unreadableStack(s.Title, err)
}

func unreadableStack(title string, err error) error {
	if err == nil {
		return nil
	}
	return &apperr.Error{
		Reason: apperr.OwnConfig, Err: err,
		What:  title + " cannot be read",
		Cause: strings.TrimPrefix(bare(err).Error(), title+": "),
	}
}

// StackPath is the absolute path of the run file that path names, as Stack has
// it. The file need not exist any more.
func StackPath(path string) (string, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, stackFile)
	}
	return filepath.Abs(path)
}

// sortedUnique is the set of names in order.
func sortedUnique(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
