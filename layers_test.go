package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/pillion-dev/pillion/"

// layers are the packages from the ground up: a package imports only what
// stands in a layer below its own, never its neighbours. The first match wins.
var layers = [][]string{
	{"internal/rpcstatus", "internal/resident"},
	{"docs", "internal/apperr", "internal/daprerr", "internal/atomicfile", "internal/filelock", "internal/lifecycle", "internal/buildtest", "internal/porttest", "internal/within", "tls/identity", "runtime/supervisor/guard"},
	{"internal/rundir", "internal/*"},
	{"discovery", "logs", "runtime/config", "runtime/filewatch", "tls/ca"},
	{"runtime/resiliency", "runtime/telemetry", "runtime/apilist", "runtime/sources"},
	{"tls/sentry"},
	{"tls/mtls"},
	{"runtime/invoke", "runtime/secrets", "runtime/state", "runtime/supervisor", "runtime/instance"},
	{"runtime/h1", "runtime/h2", "runtime/rpc"},
	{"runtime/callback", "runtime/daprmesh", "runtime/mesh", "runtime/app", "runtime/access", "runtime/external"},
	{"runtime/httpapi", "runtime/grpcapi", "runtime/middleware", "discovery/*", "runtime/state/*", "runtime/kubernetes"},
	{"runtime/sidecar"},
	{"runtime/stack", "cmd/internal/ui"},
	{"cmd"},
	{"."},
	{"scripts/internal/*"},
	{"examples/*/*", "examples/*/*/*", "scripts/*", "scripts/*/*", "internal/*/*"},
}

// only says which packages may import a library that must stay in its room.
var only = map[string][]string{
	"github.com/charmbracelet/lipgloss": {"cmd/internal/ui"},
	"k8s.io/":                           {"runtime/kubernetes", "discovery/kubernetes"},
}

func TestLayersImportDownwardsOnly(t *testing.T) {
	t.Parallel()
	eachImport(t, func(file, pkg, imported string) {
		target, ours := strings.CutPrefix(imported, module)
		if !ours {
			return
		}
		from, to := layerOf(pkg), layerOf(target)
		switch {
		case from < 0:
			t.Errorf("%s is in no layer: say where it belongs", pkg)
		case to < 0:
			t.Errorf("%s is in no layer: say where it belongs", target)
		case to >= from:
			t.Errorf("%s: %s imports %s, which is not below it", file, pkg, target)
		}
	})
}

// discovery, tls and logs are useful without a sidecar.
func TestFoundationsDoNotKnowTheRuntime(t *testing.T) {
	t.Parallel()
	eachImport(t, func(file, pkg, imported string) {
		root, _, _ := strings.Cut(pkg, "/")
		if root != "discovery" && root != "tls" && root != "logs" {
			return
		}
		if strings.HasPrefix(imported, module+"runtime/") || strings.HasPrefix(imported, module+"cmd") {
			t.Errorf("%s: %s imports %s", file, pkg, imported)
		}
	})
}

func TestInternalImportsOnlyTheStandardLibrary(t *testing.T) {
	t.Parallel()
	eachImport(t, func(file, pkg, imported string) {
		if !strings.HasPrefix(pkg, "internal/") && pkg != "runtime/supervisor/guard" {
			return
		}
		first, _, _ := strings.Cut(imported, "/")
		if strings.Contains(first, ".") && !strings.HasPrefix(imported, module+"internal/") {
			t.Errorf("%s: %s imports %s", file, pkg, imported)
		}
	})
}

func TestLibrariesStayInTheirRoom(t *testing.T) {
	t.Parallel()
	eachImport(t, func(file, pkg, imported string) {
		for library, rooms := range only {
			if !strings.HasPrefix(imported, library) {
				continue
			}
			if !matches(rooms, pkg) {
				t.Errorf("%s: %s imports %s, which belongs in %v", file, pkg, imported, rooms)
			}
		}
	})
}

// eachImport calls f for every import of every source file that is not a test.
func eachImport(t *testing.T, f func(file, pkg, imported string)) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || len(d.Name()) > 1 && d.Name()[0] == '.'):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		files++
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f(name, filepath.ToSlash(filepath.Dir(name)), imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("no source files found")
	}
}

func layerOf(pkg string) int {
	for i, layer := range layers {
		if matches(layer, pkg) {
			return i
		}
	}
	return -1
}

func matches(patterns []string, pkg string) bool {
	for _, pattern := range patterns {
		if ok, err := path.Match(pattern, pkg); err == nil && ok {
			return true
		}
	}
	return false
}
