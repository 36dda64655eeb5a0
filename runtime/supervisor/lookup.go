package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/near"
)

// Lookup finds the program a command's first word means, as a shell in dir
// with the environment env would: a word with a slash is a path, any other is
// looked for in env's PATH. It returns the path to execute, relative to dir if
// the word or PATH is. Its errors are of the reasons CommandNotFound and
// NotExecutable, with the name that was probably meant.
func Lookup(command, dir string, env []string) (string, error) {
	switch {
	case command == "":
		return "", &apperr.Error{
			Reason: apperr.CommandNotFound, What: "no command to run",
			Hint: "give it behind --, as in: pillion run -- python3 app.py",
		}
	case strings.ContainsRune(command, '/') || strings.ContainsRune(command, os.PathSeparator):
		return lookupPath(command, dir)
	}
	var refused error // the first match that cannot be executed
	for _, folder := range searchPath(env) {
		path := filepath.Join(folder, command)
		if !strings.ContainsRune(path, os.PathSeparator) {
			path = "." + string(os.PathSeparator) + path
		}
		found, err := executable(path, dir)
		if err == nil {
			return found, nil
		}
		if refused == nil && !os.IsNotExist(err) && !isFolder(path, dir) {
			refused = notExecutable(command, path, dir)
		}
	}
	if refused != nil {
		return "", refused
	}
	return "", notInPath(command, dir, env)
}

func lookupPath(command, dir string) (string, error) {
	path, err := executable(command, dir)
	switch {
	case err == nil:
		return path, nil
	case !os.IsNotExist(err):
		return "", notExecutable(command, command, dir)
	}
	e := &apperr.Error{
		Reason: apperr.CommandNotFound, Err: err,
		What:  fmt.Sprintf("no command %q", command),
		Cause: "there is no such file",
	}
	folder, base := filepath.Split(command)
	if match := near.Match(base, names(within(dir, folder), false)); match != "" {
		e.Hint = "did you mean " + folder + match + "?"
	}
	return "", e
}

// notInPath says what was probably meant: a file of the folder, or a program
// of nearly that name.
func notInPath(command, dir string, env []string) error {
	e := &apperr.Error{Reason: apperr.CommandNotFound, What: fmt.Sprintf("no command %q", command)}
	if info, err := os.Stat(within(dir, command)); err == nil && !info.IsDir() {
		e.Cause = "it is a file here, and not in PATH"
		e.Hint = "give it as ./" + command
		if with := interpreter(command); with != "" {
			e.Hint = "run it with " + with + " " + command
		}
		return e
	}
	if strings.ContainsRune(command, ' ') {
		e.Cause = "the whole line was given as one word"
		e.Hint = "leave out the quotes, or run it with sh -c"
		return e
	}
	var known []string
	for _, folder := range searchPath(env) {
		known = append(known, names(within(dir, folder), true)...)
	}
	slices.Sort(known)
	if match := near.MatchMany(command, slices.Compact(known)); match != "" {
		e.Hint = "did you mean " + match + "?"
		return e
	}
	e.Cause = "it is in no folder of PATH"
	e.Hint = "install it, or give its path"
	return e
}

// notExecutable says why a file that is there cannot be run.
func notExecutable(command, path, dir string) error {
	e := &apperr.Error{Reason: apperr.NotExecutable, What: fmt.Sprintf("cannot execute %s", command)}
	switch {
	case isFolder(path, dir):
		e.Cause = "it is a folder"
		e.Hint = "name the program in it"
	case interpreter(path) != "":
		e.Cause = "it is a file without permission to execute"
		e.Hint = "run it with " + interpreter(path) + " " + command
	default:
		e.Cause = "it is a file without permission to execute"
		e.Hint = "chmod +x " + path
		e.Run = []string{"chmod", "+x", path}
	}
	return e
}

// interpreter is what runs a file of that name by habit.
func interpreter(name string) string {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".py":
		return "python3"
	case ".js", ".mjs", ".cjs":
		return "node"
	case ".go":
		return "go run"
	case ".sh":
		return "sh"
	case ".rb":
		return "ruby"
	case ".jar":
		return "java -jar"
	default:
		return ""
	}
}

// searchPath is PATH as env has it; the last setting counts, as for execve's
// callers.
func searchPath(env []string) []string {
	for _, setting := range slices.Backward(env) {
		name, value, _ := strings.Cut(setting, "=")
		if samePathName(name) {
			return filepath.SplitList(value)
		}
	}
	return nil
}

// within is path as seen from dir.
func within(dir, path string) string {
	if path == "" {
		path = "."
	}
	if filepath.IsAbs(path) || dir == "" {
		return path
	}
	return filepath.Join(dir, path)
}

func isFolder(path, dir string) bool {
	info, err := os.Stat(within(dir, path))
	return err == nil && info.IsDir()
}

// names lists a folder's files, at most some thousands; with programs only
// those that can be executed.
func names(folder string, programs bool) []string {
	const bound = 10_000
	f, err := os.Open(folder) //nolint:gosec // only names are read
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // only read
	entries, _ := f.ReadDir(bound)   // what could be read will do
	var all []string
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		if programs {
			if _, err := executable(filepath.Join(folder, entry.Name()), ""); err != nil {
				continue
			}
		}
		all = append(all, programName(entry.Name()))
	}
	return all
}
