package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/pillion-dev/pillion/internal/apperr"
)

const (
	// maxAlias bounds how deep aliases may lead.
	maxAlias = 32
	// maxMerged bounds the entries that << brings in: a few lines can multiply to
	// millions.
	maxMerged = 10_000
)

// A stackReader takes a run file in. It goes on after a mistake, so that all
// are known at the end.
type stackReader struct {
	File
	src   StackSource
	stack *Stack
	errs  []error

	anchors map[string]ast.Node
	merged  int // entries that << brought in so far
	common  saidKeys
	apps    []saidApp
}

// saidKeys are what a mapping says, by key.
type saidKeys map[string]said

// said is the value of one key, and where it stands.
type said struct {
	values []string
	pairs  [][2]string // of a mapping
	at     ast.Node
}

// A saidApp is one entry of the list of apps.
type saidApp struct {
	keys saidKeys
	node ast.Node
	dir  string // absolute; empty if it is not known
	done StackApp
}

func (r *stackReader) fail(node ast.Node, hint, format string, values ...any) {
	r.errs = append(r.errs, r.at(startOf(node), fmt.Sprintf(format, values...), hint))
}

// startOf is the node that a mapping begins with; other nodes begin with
// themselves.
func startOf(node ast.Node) ast.Node {
	if n, ok := node.(*ast.MappingNode); ok && len(n.Values) > 0 {
		node = n.Values[0]
	}
	if n, ok := node.(*ast.MappingValueNode); ok {
		return n.Key
	}
	return node
}

// errors are all mistakes, each once, in the file's order; those of other places
// come first.
func (r *stackReader) errors() error {
	var once []error
	known := map[string]bool{}
	for _, err := range r.errs {
		if !known[err.Error()] {
			known[err.Error()] = true
			once = append(once, err)
		}
	}
	slices.SortStableFunc(once, func(a, b error) int { return cmp.Compare(r.lineOf(a), r.lineOf(b)) })
	return errors.Join(once...)
}

// lineOf is the line of a mistake in the file, else 0.
func (r *stackReader) lineOf(err error) int {
	e, ok := errors.AsType[*apperr.Error](err)
	if !ok {
		return 0
	}
	rest, _ := strings.CutPrefix(e.What, r.path+":")
	number, _, _ := strings.Cut(rest, ":")
	line, _ := strconv.Atoi(number) // other words are no line
	return line
}

// read takes the file's keys in.
func (r *stackReader) read(data []byte) {
	doc, err := parser.ParseBytes(data, 0)
	if err != nil {
		line, column, message := 1, 1, err.Error()
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			at := syntax.GetToken().Position
			line, column, message = at.Line, at.Column, syntax.GetMessage()
		}
		r.errs = append(r.errs, r.problem(line, column, message, ""))
		return
	}
	var body ast.Node
	for _, d := range doc.Docs {
		if d.Body == nil {
			continue
		}
		if body != nil {
			r.fail(d.Body, "", "a second document: only one is read")
			break
		}
		body = d.Body
	}
	if body == nil {
		r.errs = append(r.errs, &apperr.Error{
			Reason: apperr.OwnConfig, What: r.path + " says nothing",
			Hint: "version: 1, and a list of apps",
		})
		return
	}
	r.anchors = map[string]ast.Node{}
	ast.Walk(anchorFinder(r.anchors), body)
	r.root(body)
}

// An anchorFinder notes what aliases stand for.
type anchorFinder map[string]ast.Node

// Visit implements ast.Visitor.
func (f anchorFinder) Visit(node ast.Node) ast.Visitor {
	if a, ok := node.(*ast.AnchorNode); ok {
		f[a.Name.GetToken().Value] = a.Value
	}
	return f
}

// root takes in the keys of the file itself.
func (r *stackReader) root(body ast.Node) {
	entries, ok := r.mapping(body)
	if !ok {
		r.fail(body, "", "keys and values are expected here")
		return
	}
	var version, apps ast.Node
	for _, e := range entries {
		switch e.name {
		case keyVersion:
			version = e.value
		case keyName:
			if v, ok := r.scalar(e, formScalar); ok {
				r.stack.Name = last(v.values)
			}
		case keyCommon:
			r.common = r.keys(e.value, true)
		case keyApps:
			apps = e.value
		default:
			r.unknown(e, rootKeys, false)
		}
	}
	r.checkVersion(body, version)
	r.listOfApps(body, apps)
}

func (r *stackReader) checkVersion(body, version ast.Node) {
	if version == nil {
		r.fail(body, "add version: 1", "version is missing")
		return
	}
	n, ok := r.plain(version).(*ast.IntegerNode)
	if !ok || n.GetToken().Value == "0" {
		r.fail(version, "write version: 1", "version: %q is not a version", version.GetToken().Value)
	}
}

func (r *stackReader) listOfApps(body, apps ast.Node) {
	list, ok := r.plain(apps).(*ast.SequenceNode)
	switch {
	case apps == nil:
		r.fail(body, "", "apps is missing: there is nothing to run")
		return
	case !ok:
		r.fail(apps, "begin each app with a dash", "apps: a list of apps is expected")
		return
	case len(list.Values) == 0:
		r.fail(apps, "", "apps is empty: there is nothing to run")
	}
	for _, node := range list.Values {
		app := saidApp{keys: r.keys(node, false), node: node}
		if app.keys != nil {
			r.apps = append(r.apps, app)
		}
	}
}

// keys takes in the keys of an app or of common.
func (r *stackReader) keys(node ast.Node, common bool) saidKeys {
	entries, ok := r.mapping(node)
	if !ok {
		if _, null := r.plain(node).(*ast.NullNode); !null || !common {
			r.fail(node, "", "keys and values are expected here")
		}
		return nil
	}
	keys := saidKeys{}
	for _, e := range entries {
		k, known := lookUpKey(e.name, common)
		if !known {
			r.unknown(e, keyNames(common), common)
			continue
		}
		if !k.hasEffect() {
			r.stack.NoEffect = sortedUnique(append(r.stack.NoEffect, e.name))
		}
		v, ok := r.scalar(e, k.form)
		if !ok {
			continue
		}
		if err := k.check(v.values); err != nil {
			r.fail(e.value, "", "%s: %s", e.name, err)
			continue
		}
		keys[e.name] = v
	}
	return keys
}

// unknown warns of a key nobody knows: Dapr passes it over, too.
func (r *stackReader) unknown(e mapEntry, among []string, common bool) {
	pos := e.key.GetToken().Position
	r.stack.Warnings = append(r.stack.Warnings, &apperr.Error{
		What: fmt.Sprintf("%s:%d:%d: unknown key %q is passed over", r.path, pos.Line, pos.Column, e.name),
		Hint: keyHint(e.name, among, common),
	})
}

// scalar reads a value in the form its key wants; false if it says nothing or
// has another form, which is reported.
func (r *stackReader) scalar(e mapEntry, form keyForm) (said, bool) {
	node := r.plain(e.value)
	if _, null := node.(*ast.NullNode); null || form == formNothing {
		return said{}, false
	}
	switch form {
	case formMap:
		return r.variables(e)
	case formList, formPaths:
		return r.list(e, node)
	case formWords:
		if _, several := node.(*ast.SequenceNode); several {
			return r.list(e, node)
		}
	case formScalar, formPath, formNothing:
	}
	text, ok := r.text(node)
	if !ok {
		r.fail(e.value, "", "%s: a single value is expected", e.name)
	}
	return said{values: []string{text}, at: e.value}, text != ""
}

// list reads a list of words.
func (r *stackReader) list(e mapEntry, node ast.Node) (said, bool) {
	v := said{at: e.value}
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		text, _ := r.text(node)
		var words []string
		for word := range strings.FieldsSeq(text) {
			words = append(words, strconv.Quote(word))
		}
		r.fail(e.value, fmt.Sprintf("%s: [%s]", e.name, strings.Join(words, ", ")), "%s: a list of words is expected", e.name)
		return v, false
	}
	for _, one := range list.Values {
		text, ok := r.text(one)
		if !ok {
			r.fail(one, "", "%s: a single word is expected in the list", e.name)
			return v, false
		}
		v.values = append(v.values, text)
	}
	return v, len(v.values) > 0
}

// variables reads a mapping of the environment.
func (r *stackReader) variables(e mapEntry) (said, bool) {
	v := said{at: e.value}
	entries, ok := r.mapping(e.value)
	if !ok {
		r.fail(e.value, "", "%s: names and values are expected here", e.name)
		return v, false
	}
	for _, pair := range entries {
		text, ok := r.text(r.plain(pair.value))
		if _, null := r.plain(pair.value).(*ast.NullNode); !ok && !null {
			r.fail(pair.value, "", "%s: %s: a single value is expected", e.name, pair.name)
			continue
		}
		v.pairs = append(v.pairs, [2]string{pair.name, text})
	}
	return v, true
}

// text is a scalar as it was written.
func (r *stackReader) text(node ast.Node) (string, bool) {
	switch n := r.plain(node).(type) {
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// A mapEntry is one key of a mapping.
type mapEntry struct {
	name       string
	key, value ast.Node
}

// mapping is a mapping's entries, with those of the mappings merged into it.
func (r *stackReader) mapping(node ast.Node) ([]mapEntry, bool) {
	return r.mappingWithin(node, maxAlias)
}

func (r *stackReader) mappingWithin(node ast.Node, depth int) ([]mapEntry, bool) {
	var values []*ast.MappingValueNode
	switch n := r.plain(node).(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		return nil, false
	}
	var own, merged []mapEntry
	names := map[string]bool{}
	for _, v := range values {
		if _, merge := v.Key.(*ast.MergeKeyNode); merge && depth > 0 {
			merged = append(merged, r.merge(v, depth)...)
			continue
		}
		name := v.Key.GetToken().Value
		names[name] = true
		own = append(own, mapEntry{name: name, key: v.Key, value: v.Value})
	}
	for _, e := range merged { // what is said here counts more
		if !names[e.name] {
			names[e.name] = true
			own = append(own, e)
		}
	}
	return own, true
}

// merge are the entries that << brings in.
func (r *stackReader) merge(v *ast.MappingValueNode, depth int) []mapEntry {
	var merged []mapEntry
	for _, from := range r.mergedFrom(v.Value) {
		if r.merged++; r.merged > maxMerged {
			if r.merged == maxMerged+1 {
				r.fail(v.Key, "", "more than %d mappings and entries are merged", maxMerged)
			}
			break
		}
		entries, ok := r.mappingWithin(from, depth-1)
		if !ok {
			r.fail(v.Value, "", "<< wants a mapping, or a list of them")
			break
		}
		r.merged += len(entries)
		merged = append(merged, entries...)
	}
	return merged
}

// mergedFrom are the mappings behind <<.
func (r *stackReader) mergedFrom(node ast.Node) []ast.Node {
	if list, ok := r.plain(node).(*ast.SequenceNode); ok {
		return list.Values
	}
	return []ast.Node{node}
}

// plain is the node behind anchors, aliases and tags.
func (r *stackReader) plain(node ast.Node) ast.Node {
	for range maxAlias {
		switch n := node.(type) {
		case *ast.AnchorNode:
			node = n.Value
		case *ast.AliasNode:
			node = r.anchors[n.Value.GetToken().Value]
		case *ast.TagNode:
			node = n.Value
		default:
			return node
		}
	}
	return nil
}
