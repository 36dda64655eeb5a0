package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/tls/identity"
)

// maxResourceFiles bounds the files of one resources folder.
const maxResourceFiles = 1000

// ResourcePaths are the folders and files that Dapr's resources are read from:
// those that were given, else the home's folder if the profile reads it and it
// is there.
func (c Sidecar) ResourcePaths(home Home) []string {
	if len(c.ResourcesPaths) > 0 {
		return c.ResourcesPaths
	}
	if c.Profile.HomeResources && home.Path != "" {
		if info, err := os.Stat(home.Resources()); err == nil && info.IsDir() {
			return []string{home.Resources()}
		}
	}
	return nil
}

// A resource is one document of a resources file.
type resource struct {
	file string
	line int
	head struct {
		Version  string `yaml:"apiVersion"`
		Kind     string `yaml:"kind"`
		Metadata struct {
			Name      string `yaml:"name"`
			Namespace string `yaml:"namespace"`
		} `yaml:"metadata"`
		Scopes []string `yaml:"scopes"`
		Auth   struct {
			SecretStore string `yaml:"secretStore"`
		} `yaml:"auth"`
	}
	body ast.Node
}

func (r *resource) at() string { return fmt.Sprintf("%s:%d", r.file, r.line) }

// into reads the whole document.
func (r *resource) into(to any) error {
	if err := decode(r.body, to); err != nil {
		return r.problemAt(max(r.line, yamlLine(err)), "%s", yamlMessage(err))
	}
	return nil
}

// problem is a mistake in the resource.
func (r *resource) problem(format string, values ...any) *apperr.Error {
	return r.problemAt(r.line, format, values...)
}

func (r *resource) problemAt(line int, format string, values ...any) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.OwnConfig,
		What:   fmt.Sprintf("%s:%d: %s: ", r.file, line, r.name()) + fmt.Sprintf(format, values...),
	}
}

func (r *resource) name() string { return r.head.Kind + " " + r.head.Metadata.Name }

// The kinds of resources that are read.
const (
	kindComponent    = "Component"
	kindHTTPEndpoint = "HTTPEndpoint"
	kindResiliency   = "Resiliency"
)

// isOurs reports whether a resource is one of Dapr's that is read here. A folder
// may hold others.
func isOurs(version, kind string) bool {
	return (version == "" || strings.HasPrefix(version, "dapr.io/")) &&
		(kind == kindComponent || kind == kindHTTPEndpoint || kind == kindResiliency)
}

// isFor reports whether the resource is for c's app: of its namespace or of
// none, and with the app in its scopes, or without any. As with Dapr, an app
// that nobody gave a namespace takes the resources of all.
func (r *resource) isFor(c Sidecar) bool {
	given := r.head.Metadata.Namespace
	anyone := !c.NamespaceGiven && (c.Namespace == "" || c.Namespace == identity.DefaultNamespace)
	return (given == "" || anyone || given == c.Namespace) &&
		(len(r.head.Scopes) == 0 || slices.Contains(r.head.Scopes, c.AppID))
}

// readAll reads the documents of all files of paths, each file once. Everything
// wrong is reported, joined.
func readAll(paths []string) ([]*resource, error) {
	var all []*resource
	var errs []error
	seen := map[string]bool{}
	for _, path := range paths {
		files, err := resourceFiles(path)
		errs = append(errs, err)
		for _, file := range files {
			if seen[filepath.Clean(file)] {
				continue
			}
			seen[filepath.Clean(file)] = true
			found, err := readResources(file)
			errs = append(errs, err)
			all = append(all, found...)
		}
	}
	return all, errors.Join(errs...)
}

// resourceFiles are the YAML files of a folder, in order, without those of
// folders in it; or path itself.
func resourceFiles(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		if info, isThere := os.Stat(path); isThere == nil && !info.IsDir() {
			return []string{path}, nil
		}
		return nil, unreadable("--resources-path", path, err)
	}
	var files []string
	for _, e := range entries {
		if e.Type()&fs.ModeDir == 0 && isYAML(e.Name()) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) > maxResourceFiles {
		return nil, usage("--resources-path", fmt.Errorf("%s holds more than %d files", path, maxResourceFiles))
	}
	return files, nil
}

func isYAML(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

func readResources(file string) ([]*resource, error) {
	wrong := func(line int, message string) error {
		return &apperr.Error{Reason: apperr.OwnConfig, What: fmt.Sprintf("%s:%d: %s", file, line, message)}
	}
	data, err := readBounded(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it went while the folder was read
	}
	if err != nil {
		return nil, unreadable("--resources-path", file, err)
	}
	parsed, err := parseYAML(data)
	if err != nil {
		return nil, wrong(yamlLine(err), yamlMessage(err))
	}
	var all []*resource
	var errs []error
	for _, doc := range parsed.Docs {
		switch doc.Body.(type) {
		case *ast.MappingNode, *ast.MappingValueNode:
		default:
			continue // empty, or nobody's resource
		}
		r := &resource{file: file, line: firstLine(doc.Body), body: doc.Body}
		var what struct {
			Version string `yaml:"apiVersion"`
			Kind    string `yaml:"kind"`
		}
		if decode(doc.Body, &what) != nil || !isOurs(what.Version, what.Kind) {
			continue // nobody's, or others' to read
		}
		if err := decode(doc.Body, &r.head); err != nil {
			errs = append(errs, wrong(yamlLine(err), yamlMessage(err)))
			continue
		}
		all = append(all, r)
	}
	return all, errors.Join(errs...)
}

func firstLine(node ast.Node) int {
	if n, ok := node.(*ast.MappingNode); ok && len(n.Values) > 0 {
		node = n.Values[0]
	}
	if n, ok := node.(*ast.MappingValueNode); ok {
		node = n.Key
	}
	return node.GetToken().Position.Line
}
