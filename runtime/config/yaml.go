package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// parseYAML reads all documents of a file. What the library cannot bear is an
// error: a file that somebody is writing must not end a sidecar.
func parseYAML(data []byte) (file *ast.File, err error) {
	defer unreadableYAML(&err)
	return parser.ParseBytes(data, 0)
}

// decode reads a document, or a part of one, into a value.
func decode(node ast.Node, to any) (err error) {
	defer unreadableYAML(&err)
	return yaml.NodeToValue(node, to)
}

func unreadableYAML(err *error) {
	if problem := recover(); problem != nil {
		*err = errors.New("it cannot be read as YAML")
	}
}

func yamlLine(err error) int {
	var known yaml.Error
	if errors.As(err, &known) && known.GetToken() != nil {
		return known.GetToken().Position.Line
	}
	return 1
}

// yamlMessage is err in one line, in words and without the excerpt of the file.
func yamlMessage(err error) string {
	if wrong, ok := errors.AsType[*yaml.TypeError](err); ok {
		return fmt.Sprintf("%s stands where %s is expected", inWords(wrong.SrcType), inWords(wrong.DstType))
	}
	if wrong, ok := errors.AsType[*yaml.UnexpectedNodeTypeError](err); ok {
		return fmt.Sprintf("%s stands where %s is expected", nodeInWords(wrong.Actual), nodeInWords(wrong.Expected))
	}
	if known, ok := errors.AsType[yaml.Error](err); ok {
		return known.GetMessage()
	}
	message, _, _ := strings.Cut(err.Error(), "\n")
	return message
}

func inWords(t reflect.Type) string {
	switch t.Kind() { //nolint:exhaustive // all others are mappings
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Pointer:
		return inWords(t.Elem())
	}
	return "a mapping"
}

func nodeInWords(t ast.NodeType) string {
	switch t { //nolint:exhaustive // the others have their own names
	case ast.IntegerType, ast.FloatType:
		return "a number"
	case ast.BoolType:
		return "true or false"
	case ast.StringType, ast.LiteralType:
		return "a text"
	case ast.SequenceType:
		return "a list"
	case ast.MappingType, ast.MappingValueType:
		return "a mapping"
	}
	return t.YAMLName()
}

// A yamlScalar is any scalar as text.
type yamlScalar string

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (s *yamlScalar) UnmarshalYAML(read func(any) error) error {
	var v any
	if err := read(&v); err != nil {
		return err
	}
	switch v.(type) {
	case []any, map[string]any:
		return errors.New("a single value is expected")
	}
	*s = yamlScalar(textOf(v))
	return nil
}

// A yamlValue is any value as text: what is no scalar is JSON, as Dapr's
// components have it.
type yamlValue struct {
	text  string
	given bool
}

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (s *yamlValue) UnmarshalYAML(read func(any) error) error {
	var v any
	if err := read(&v); err != nil {
		return err
	}
	s.text, s.given = textOf(v), v != nil
	return nil
}

func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(v) != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// A yamlInt is a whole number, and nil if nothing was said.
type yamlInt struct{ n *int }

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (i *yamlInt) UnmarshalYAML(read func(any) error) error {
	var v any
	if err := read(&v); err != nil || v == nil {
		return err
	}
	n, err := strconv.Atoi(fmt.Sprint(v))
	if _, isText := v.(string); isText || err != nil {
		return fmt.Errorf("%s stands where a whole number is expected", textOf(v))
	}
	i.n = &n
	return nil
}

// A yamlChoice is a word, by itself or as the value of a mapping, as Dapr's
// documentation has it both ways.
type yamlChoice string

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (c *yamlChoice) UnmarshalYAML(read func(any) error) error {
	var word string
	if read(&word) == nil {
		*c = yamlChoice(word)
		return nil
	}
	var wrapped struct {
		Value string `yaml:"value"`
	}
	err := read(&wrapped)
	*c = yamlChoice(wrapped.Value)
	return err
}

// child is the value of a key in a mapping, and of a key in that, and so on;
// nil if there is none.
func child(node ast.Node, keys ...string) ast.Node {
	for _, key := range keys {
		entry := entryOf(node, key)
		if entry == nil {
			return nil
		}
		node = entry.Value
	}
	return node
}

func entryOf(node ast.Node, key string) *ast.MappingValueNode {
	for _, entry := range entries(node) {
		if entry.Key.GetToken().Value == key {
			return entry
		}
	}
	return nil
}

// entries are the keys and values of a mapping; none of anything else.
func entries(node ast.Node) []*ast.MappingValueNode {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	case *ast.AnchorNode:
		return entries(n.Value)
	}
	return nil
}

// items are the values of a list; none of anything else.
func items(node ast.Node) []ast.Node {
	if n, ok := node.(*ast.SequenceNode); ok {
		return n.Values
	}
	return nil
}

func (i yamlInt) or(fallback int) int {
	if i.n == nil {
		return fallback
	}
	return *i.n
}
