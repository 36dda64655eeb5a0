package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/near"
)

// maxFile bounds config.yaml.
const maxFile = 1 << 20

// A File is what config.yaml says. The zero File says nothing.
type File struct {
	path   string
	lines  []string
	values map[string]value
}

// without is the file without some keys.
func (f File) without(keys ...string) File {
	f.values = maps.Clone(f.values)
	for _, key := range keys {
		delete(f.values, key)
	}
	return f
}

// value is what a key was given, and where.
type value struct {
	values       []string
	line, column int
}

// Load reads the file of settings at path. A file that does not exist says
// nothing. One that cannot be read, is no YAML, or has keys nobody knows, is an
// error with file, line and column; all wrong keys are reported, joined.
func Load(path string) (File, error) {
	data, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return File{path: path}, nil
	}
	if err != nil {
		return File{}, &apperr.Error{
			Reason: apperr.OwnConfig, Err: err,
			What: fmt.Sprintf("%s cannot be read", path),
			// The path stands in the sentence already.
			Cause: strings.TrimPrefix(bare(err).Error(), path+": "),
		}
	}
	return Parse(path, data)
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the user's own file
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = errors.New("it is larger than 1 MiB")
	}
	return data, err
}

// bare is the reason inside a path error.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// Parse is Load for data that came from path.
func Parse(path string, data []byte) (File, error) {
	f := File{path: path, lines: strings.Split(string(data), "\n"), values: map[string]value{}}
	doc, err := parser.ParseBytes(data, 0)
	if err != nil {
		var syntax yaml.Error
		if !errors.As(err, &syntax) || syntax.GetToken() == nil {
			return File{}, f.problem(1, 1, err.Error(), "")
		}
		at := syntax.GetToken().Position
		return File{}, f.problem(at.Line, at.Column, syntax.GetMessage(), "")
	}
	var errs []error
	for i, d := range doc.Docs {
		if d.Body == nil {
			continue
		}
		if i > 0 {
			errs = append(errs, f.at(d.Body, "a second document: only one is read", ""))
			break
		}
		errs = append(errs, f.block("", d.Body)...)
	}
	if err := errors.Join(errs...); err != nil {
		return File{}, err
	}
	return f, nil
}

// block takes in the keys of a mapping; prefix is the way to it.
func (f *File) block(prefix string, node ast.Node) []error {
	var entries []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	case *ast.NullNode, *ast.CommentGroupNode:
		return nil
	default:
		return []error{f.at(node, "keys and values are expected here", "")}
	}
	var errs []error
	for _, entry := range entries {
		errs = append(errs, f.entry(prefix, entry)...)
	}
	return errs
}

func (f *File) entry(prefix string, entry *ast.MappingValueNode) []error {
	name := entry.Key.GetToken().Value
	key := prefix + name
	if blocks := keysBelow(key + "."); len(blocks) > 0 {
		return f.block(key+".", entry.Value)
	}
	known := keysBelow(prefix)
	if !slices.Contains(known, name) {
		hint := "the keys here are " + strings.Join(known, ", ")
		if meant := near.Match(name, known); meant != "" {
			hint = "did you mean " + meant + "?"
		}
		return []error{f.at(entry.Key, fmt.Sprintf("unknown key %q", name), hint)}
	}
	values, err := scalars(entry.Value)
	if err != nil {
		return []error{f.at(entry.Value, key+": "+err.Error(), "")}
	}
	if values != nil {
		at := entry.Value.GetToken().Position
		f.values[key] = value{values: values, line: at.Line, column: at.Column}
	}
	return nil
}

// keysBelow are the names directly below prefix, in the table's order.
func keysBelow(prefix string) []string {
	var out []string
	for _, s := range settings {
		rest, ok := strings.CutPrefix(s.key, prefix)
		if !ok || s.key == "" {
			continue
		}
		name, _, _ := strings.Cut(rest, ".")
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// scalars are the values of a scalar or of a list of them; nil for none.
func scalars(node ast.Node) ([]string, error) {
	switch n := node.(type) {
	case *ast.NullNode:
		return nil, nil //nolint:nilnil // a key without a value says nothing
	case *ast.SequenceNode:
		out := []string{}
		for _, one := range n.Values {
			values, err := scalars(one)
			if err != nil {
				return nil, err
			}
			if len(values) > 1 {
				return nil, errors.New("a list of lists")
			}
			out = append(out, values...)
		}
		return out, nil
	case *ast.LiteralNode:
		return []string{n.Value.Value}, nil
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return []string{n.GetToken().Value}, nil
	}
	return nil, errors.New("a value or a list of values is expected")
}

func (f *File) at(node ast.Node, what, hint string) error {
	pos := node.GetToken().Position
	return f.problem(pos.Line, pos.Column, what, hint)
}

// problem is a mistake in the file, with the line it is in.
func (f *File) problem(line, column int, what, hint string) error {
	e := &apperr.Error{
		Reason: apperr.OwnConfig,
		What:   fmt.Sprintf("%s:%d:%d: %s", f.path, line, column, what),
		Hint:   hint,
	}
	if line >= 1 && line <= len(f.lines) {
		e.Cause = strings.TrimSpace(f.lines[line-1])
	}
	return e
}
