package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// Bounds of the look at an app's own description.
const (
	describeWait = time.Second
	maxDescribe  = 4 << 20
	maxSample    = 6 // fields of a sample body
)

// judge says what an app's own refusal was, what may be done about it, and
// which exit status it is.
func (x *exchange) judge(ctx context.Context, a *invoke.Answer) error {
	if a.Status < http.StatusBadRequest {
		return nil
	}
	p := x.c.Err
	p.Say(ui.NoMark,
		x.call.Target.App+" answered "+p.Paint(ui.ToneBad, statusText(a.Status)),
		x.call.Verb+" "+x.call.path(),
		p.Duration(x.head))
	if hint, run := x.hint(ctx, a); hint != "" {
		p.Hint(hint, run...)
	}
	if a.Status >= http.StatusInternalServerError {
		return &ui.Exit{Status: 5}
	}
	return &ui.Exit{Status: 4}
}

// hint is what may be done about a refusal we know the usual reason of.
func (x *exchange) hint(ctx context.Context, a *invoke.Answer) (string, []string) {
	switch a.Status {
	case http.StatusMethodNotAllowed:
		if verb := allowed(a.Fields.Values("allow"), x.call.Verb, x.o.verbGiven); verb != "" {
			return "add -X " + verb, []string{"-X", verb}
		}
	case http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		if x.call.empty {
			body := "-d '" + x.sample(ctx) + "'"
			return "the app wants a body: add " + body, []string{body}
		}
	}
	return "", nil
}

// allowed is the verb to use in place of the one that was refused: GET if the
// app allows it, else the first it names. Without an Allow header it is GET
// after the default POST.
func allowed(allow []string, refused string, chosen bool) string {
	var verbs []string
	for _, line := range allow {
		for v := range strings.SplitSeq(line, ",") {
			v = strings.ToUpper(strings.TrimSpace(v))
			if v != "" && v != refused && !strings.ContainsFunc(v, func(r rune) bool { return r < 'A' || r > 'Z' }) {
				verbs = append(verbs, v)
			}
		}
	}
	switch {
	case len(verbs) == 0 && !chosen && len(allow) == 0, slices.Contains(verbs, http.MethodGet):
		return http.MethodGet
	case len(verbs) > 0:
		return verbs[0]
	}
	return ""
}

// sample is a body the app may take, with the fields of its /openapi.json
// where it serves one.
func (x *exchange) sample(ctx context.Context) string {
	const unknown = `{"message":"…"}`
	ctx, cancel := context.WithTimeout(ctx, describeWait)
	defer cancel()
	answer, err := x.from.Serve(ctx, &invoke.Call{
		Target: x.call.Target, Verb: http.MethodGet, Path: "/openapi.json", Major: 1,
		Host: x.call.Host, Attempt: 1, Fields: invoke.Fields{{Name: "Accept", Value: typeJSON}},
	})
	if err != nil {
		return unknown
	}
	defer answer.Body.Close() //nolint:errcheck // only read
	var api openAPI
	if answer.Status != http.StatusOK ||
		json.NewDecoder(io.LimitReader(answer.Body, maxDescribe)).Decode(&api) != nil {
		return unknown
	}
	if s := api.sample(x.call.Verb, x.call.path()); s != "" {
		return s
	}
	return unknown
}

// openAPI is what of an app's description says how a body looks.
type openAPI struct {
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	RequestBody struct {
		Content map[string]struct {
			Schema schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
}

type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"`
	Required   []string          `json:"required"`
	Properties map[string]schema `json:"properties"`
}

// sample is a body with the required fields of an operation, or "".
func (d *openAPI) sample(verb, path string) string {
	for pattern, operations := range d.Paths {
		raw, ok := operations[strings.ToLower(verb)]
		var op operation
		if !ok || !matchesPath(pattern, path) || json.Unmarshal(raw, &op) != nil {
			continue
		}
		body, ok := op.RequestBody.Content[typeJSON]
		if !ok {
			continue
		}
		if s := d.object(d.resolve(body.Schema)); s != "" {
			return s
		}
	}
	return ""
}

// resolve follows one reference; descriptions do not nest them.
func (d *openAPI) resolve(s schema) schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return d.Components.Schemas[name]
	}
	return s
}

func (d *openAPI) object(s schema) string {
	names := s.Required
	if len(names) == 0 {
		for name := range s.Properties {
			names = append(names, name)
		}
		slices.Sort(names)
	}
	var fields []string
	for _, name := range names[:min(len(names), maxSample)] {
		quoted, err := json.Marshal(name)
		if err != nil || strings.ContainsRune(name, '\'') {
			continue // not for a shell's quotes
		}
		fields = append(fields, fmt.Sprintf("%s:%s", quoted, d.resolve(s.Properties[name]).value()))
	}
	if len(fields) == 0 {
		return ""
	}
	return "{" + strings.Join(fields, ",") + "}"
}

// value stands for a field of this schema.
func (s schema) value() string {
	switch s.Type {
	case "integer", "number":
		return "0"
	case "boolean":
		return "false"
	case "array":
		return "[]"
	case "object":
		return "{}"
	}
	return `"…"`
}

// matchesPath reports whether path is one of the pattern's, such as
// /tasks/{id}.
func matchesPath(pattern, path string) bool {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if want[i] != got[i] && !strings.HasPrefix(want[i], "{") {
			return false
		}
	}
	return true
}
