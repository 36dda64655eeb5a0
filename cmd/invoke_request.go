package cmd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

const (
	typeJSON  = "application/json"
	typeText  = "text/plain; charset=utf-8"
	typeBytes = "application/octet-stream"
)

// call makes the call of the command line.
func (o *invokeOptions) call(c *ui.Console) (*request, error) {
	target, err := invoke.ParseTarget(o.app)
	if err != nil {
		return nil, err
	}
	verb := strings.ToUpper(o.verb)
	if !httpguts.ValidHeaderFieldName(verb) || verb == http.MethodConnect {
		return nil, usageError(fmt.Sprintf("--verb: %q is not a verb that can be called", o.verb), "")
	}
	path, err := o.path()
	if err != nil {
		return nil, err
	}
	fields, err := o.fields()
	if err != nil {
		return nil, err
	}
	r := &request{Call: &invoke.Call{
		Target: target, Verb: verb, Path: path, Major: 1, Host: target.Given, Attempt: 1,
	}}
	kind, err := o.body(c, r)
	if err != nil {
		return nil, err
	}
	if kind != "" && !fields.Has("content-type") {
		r.Fields.Add("Content-Type", kind)
	}
	if !fields.Has("accept") {
		r.Fields.Add("Accept", "*/*")
	}
	if !fields.Has("user-agent") {
		r.Fields.Add("User-Agent", "pillion")
	}
	r.Fields = append(r.Fields, fields...)
	return r, nil
}

// path is the method as the app gets it: one slash in front, what HTTP cannot
// carry escaped, every other byte as it was typed, and --query behind it.
func (o *invokeOptions) path() (string, error) {
	path := "/" + escapeTarget(strings.TrimLeft(o.method, "/"))
	for _, q := range o.query {
		name, value, found := strings.Cut(q, "=")
		if name == "" {
			return "", usageError(fmt.Sprintf("--query: %q is not name=value", q), "")
		}
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		path += sep + url.QueryEscape(name)
		if found {
			path += "=" + url.QueryEscape(value)
		}
	}
	return path, nil
}

// escapeTarget escapes the bytes that would end a request line or begin a
// fragment.
func escapeTarget(s string) string {
	var out strings.Builder
	for i := range len(s) {
		if b := s[i]; b <= ' ' || b >= 0x7f || b == '#' {
			fmt.Fprintf(&out, "%%%02X", b)
		} else {
			out.WriteByte(b)
		}
	}
	return out.String()
}

func (o *invokeOptions) fields() (invoke.Fields, error) {
	var out invoke.Fields
	for _, h := range o.headers {
		name, value, found := strings.Cut(h, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !found || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			// What follows the name may be a secret.
			name, _, _ = strings.Cut(name, " ")
			return nil, usageError(fmt.Sprintf("--header: %q is not a header", name), "give it as -H 'Name: value'")
		}
		if strings.EqualFold(name, "content-length") || strings.EqualFold(name, "transfer-encoding") {
			return nil, usageError("--header: "+name+" follows from the body", "leave it out")
		}
		out.Add(name, value)
	}
	return out, nil
}

// body opens the body and returns the content type it looks like.
func (o *invokeOptions) body(c *ui.Console, r *request) (string, error) {
	name, isFile := strings.CutPrefix(o.data, "@")
	switch {
	case o.dataGiven && o.dataFile != "":
		return "", usageError("--data and --data-file are two bodies", "give one of them")
	case o.dataFile != "":
		name = o.dataFile
	case !o.dataGiven:
		r.empty = true
		return "", nil
	case !isFile:
		data := []byte(o.data)
		r.Body, r.Length, r.empty = invoke.BytesBody(data), int64(len(data)), len(data) == 0
		return kindOf(data), nil
	}
	if name == "-" {
		return o.stdin(c, r)
	}
	return fileBody(name, r)
}

func (o *invokeOptions) stdin(c *ui.Console, r *request) (string, error) {
	if c.Interactive() {
		c.Err.Say(ui.NoMark, "the body is read from the terminal", "Ctrl-D ends it")
	}
	in := bufio.NewReader(c.In)
	r.Body, r.Length = invoke.NewBody(io.NopCloser(in), nil), -1
	return kindOfStream(in), nil
}

func fileBody(name string, r *request) (string, error) {
	f, err := os.Open(name) //nolint:gosec // the user's own choice
	if err != nil {
		return "", unreadable(name, err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("it is a folder")
	}
	if err != nil {
		_ = f.Close() // only opened
		return "", unreadable(name, err)
	}
	in := bufio.NewReader(f)
	kind := kindOfStream(in)
	if strings.EqualFold(filepath.Ext(name), ".json") {
		kind = typeJSON
	}
	r.Length = -1
	if info.Mode().IsRegular() {
		r.Length, r.empty = info.Size(), info.Size() == 0
	}
	r.Body = invoke.NewBody(struct {
		io.Reader
		io.Closer
	}{in, f}, nil)
	return kind, nil
}

func unreadable(name string, err error) error {
	cause := err.Error()
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		cause = p.Err.Error()
	}
	return &apperr.Error{
		Reason: apperr.Usage, Err: err,
		What: fmt.Sprintf("the body %q cannot be read", name), Cause: cause,
	}
}

// kindOf is the content type of a whole body.
func kindOf(data []byte) string {
	switch {
	case len(data) == 0:
		return ""
	case json.Valid(data):
		return typeJSON
	case utf8.Valid(data):
		return typeText
	}
	return typeBytes
}

// kindOfStream judges a body by its first bytes; it waits for one of them.
func kindOfStream(in *bufio.Reader) string {
	if _, err := in.Peek(1); err != nil {
		return ""
	}
	start, _ := in.Peek(in.Buffered()) // what is there already
	trimmed := bytes.TrimLeft(start, " \t\r\n")
	switch {
	case len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '['):
		return typeJSON
	case utf8.Valid(trimEnd(start)) && !bytes.ContainsRune(start, 0):
		return typeText
	}
	return typeBytes
}

// trimEnd leaves out a character that is cut off at the end.
func trimEnd(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if utf8.RuneStart(b[len(b)-i]) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}
