package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/pillion-dev/pillion/internal/apperr"
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
		Kind     string `yaml:"kind"`
		Metadata struct {
			Name      string `yaml:"name"`
			Namespace string `yaml:"namespace"`
		} `yaml:"metadata"`
		Scopes []string `yaml:"scopes"`
	}
	body ast.Node
}

func (r *resource) at() string { return fmt.Sprintf("%s:%d", r.file, r.line) }

// into reads the whole document.
func (r *resource) into(to any) error {
	if err := yaml.NodeToValue(r.body, to); err != nil {
		return r.problem("%s", yamlMessage(err))
	}
	return nil
}

// problem is a mistake in the resource.
func (r *resource) problem(format string, values ...any) error {
	return &apperr.Error{
		Reason: apperr.OwnConfig,
		What:   fmt.Sprintf("%s: %s %s: %s", r.at(), r.head.Kind, r.head.Metadata.Name, fmt.Sprintf(format, values...)),
	}
}

// isFor reports whether the resource is for an app: of its namespace or of
// none, and with the app in its scopes, or without any.
func (r *resource) isFor(app, namespace string) bool {
	m := r.head.Metadata
	return (m.Namespace == "" || m.Namespace == namespace) && (len(r.head.Scopes) == 0 || slices.Contains(r.head.Scopes, app))
}

// resources reads the documents of a kind in all files of paths. Documents of
// other kinds are others' to read. Everything wrong is reported, joined.
func resources(paths []string, kind string) ([]*resource, error) {
	var all []*resource
	var errs []error
	for _, path := range paths {
		files, err := resourceFiles(path)
		errs = append(errs, err)
		for _, file := range files {
			found, err := readResources(file)
			errs = append(errs, err)
			for _, r := range found {
				if r.head.Kind == kind {
					all = append(all, r)
				}
			}
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
	if err != nil {
		return nil, unreadable("--resources-path", file, err)
	}
	parsed, err := parser.ParseBytes(data, 0)
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
		if err := yaml.NodeToValue(doc.Body, &r.head); err != nil {
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

func yamlLine(err error) int {
	var known yaml.Error
	if errors.As(err, &known) && known.GetToken() != nil {
		return known.GetToken().Position.Line
	}
	return 1
}

// yamlMessage is err in one line, without the excerpt of the file.
func yamlMessage(err error) string {
	if known, ok := errors.AsType[yaml.Error](err); ok {
		return known.GetMessage()
	}
	message, _, _ := strings.Cut(err.Error(), "\n")
	return message
}
