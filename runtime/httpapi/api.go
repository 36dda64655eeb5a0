package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/daprerr"
	"github.com/pillion-dev/pillion/runtime/h1"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// defaultMaxBody bounds what an endpoint reads of a request's body, as Dapr's
// --max-body-size.
const defaultMaxBody = 4 << 20

// An apiRequest is a request for one of the API's endpoints.
type apiRequest struct {
	*door
	w      http.ResponseWriter
	r      *http.Request
	route  *apiRoute
	values []string // of the path's parameters
	after  func()   // what happens once the answer has been written; nil for nothing
}

// param is the value of one of the path's parameters.
func (q *apiRequest) param(name string) string {
	i := q.route.param(name)
	if i < 0 {
		return ""
	}
	return q.values[i]
}

// metadata are the request's metadata: the query's parameters metadata.*.
// It is never nil.
func (q *apiRequest) metadata() map[string]string {
	found := make(map[string]string)
	for key, values := range q.r.URL.Query() {
		if name, ok := strings.CutPrefix(key, metadataPrefix); ok {
			found[name] = values[0]
		}
	}
	return found
}

// metadataPrefix begins the query parameters and answer fields of metadata.
const metadataPrefix = "metadata."

// body is the request's body, with a bound.
func (q *apiRequest) body() io.Reader {
	if q.cfg.MaxBody < 0 {
		return q.r.Body
	}
	return &bounded{from: q.r.Body, left: q.cfg.MaxBody}
}

// errTooLarge is how Dapr says that a body is larger than allowed.
var errTooLarge = errors.New("stream too large")

// bounded reads at most left bytes; more than that is an error.
type bounded struct {
	from io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.from.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, errTooLarge
	}
	return n, err
}

// object reads a body that is a JSON object or empty. If it cannot, ok is false
// and the reply says why.
func (q *apiRequest) object(into any) (reply h1.Reply, ok bool) {
	data, err := io.ReadAll(q.body())
	if err != nil {
		return unreadable(err), false
	}
	if len(data) > 0 {
		if err := json.Unmarshal(data, into); err != nil {
			return malformed(err), false
		}
	}
	return h1.Reply{}, true
}

// decode reads the JSON value a body begins with. name is Dapr's for what is
// read: it is a part of what clients are told.
func (q *apiRequest) decode(into any, name string) error {
	err := json.NewDecoder(q.body()).Decode(into)
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case !ok:
		return err
	case wrong.Field == "":
		return errors.New("json: cannot unmarshal " + wrong.Value + " into Go value of type " + name)
	}
	base := name[strings.LastIndexByte(name, '.')+1:]
	return errors.New("json: cannot unmarshal " + wrong.Value + " into Go struct field " + base + "." + wrong.Field +
		" of type " + wrong.Type.String())
}

// skipBody reads a body that is of no interest. If it cannot, ok is false and
// the reply says why.
func (q *apiRequest) skipBody() (reply h1.Reply, ok bool) {
	if _, err := io.Copy(io.Discard, q.body()); err != nil {
		return unreadable(err), false
	}
	return h1.Reply{}, true
}

// api answers a request for one of the API's endpoints.
func (d *door) api(w http.ResponseWriter, r *http.Request, found *apiRoute, values []string) {
	q := &apiRequest{door: d, w: w, r: r, route: found, values: values}
	noteRoute(w, found, values)
	write(w, found.answer(q))
	if q.after != nil {
		_ = http.NewResponseController(w).Flush() // a client that is gone need not be told
		q.after()
	}
}

// notOffered is the answer of a door that offers no calls to a request for
// something else it does not have, but perhaps with other verbs.
func notOffered(verbs []string) h1.Reply {
	if len(verbs) == 0 {
		return h1.Reply{
			Status: http.StatusNotFound, Body: []byte("404 page not found\n"),
			Fields: invoke.Fields{{Name: "Content-Type", Value: "text/plain; charset=utf-8"}, {Name: "X-Content-Type-Options", Value: "nosniff"}},
		}
	}
	return h1.Reply{
		Status: http.StatusMethodNotAllowed, Fields: invoke.Fields{{Name: "Allow", Value: strings.Join(verbs, ", ")}},
	}
}

// noContent is the answer that all went well and there is nothing to say.
func noContent() h1.Reply { return h1.Reply{Status: http.StatusNoContent} }

// apiError is the answer to a request for an endpoint that failed.
func apiError(e *daprerr.Error) h1.Reply {
	fields := invoke.Fields{
		{Name: invoke.FieldError, Value: e.Code},
		{Name: invoke.FieldHop, Value: string(apperr.HopSidecar)},
	}
	reply := encoded(e.HTTP, fields, e.Body())
	reply.Body = bytes.TrimSuffix(reply.Body, []byte("\n"))
	return reply
}

// blockError is the answer to a request that a building block could not carry
// out.
func blockError(err error) h1.Reply {
	if e, ok := daprerr.As(err); ok {
		return apiError(e)
	}
	return render(false, "", apperr.From(err)) // blocks have no others
}

// basicError is one without details.
func basicError(status int, code, message string) h1.Reply {
	return apiError(&daprerr.Error{HTTP: status, Code: code, Message: message})
}

const (
	codeMalformed  = "ERR_MALFORMED_REQUEST"
	codeBodyRead   = "ERR_BODY_READ"
	codeBadRequest = "ERR_BAD_REQUEST"
)

// malformed is the answer to a body that is not what the endpoint takes.
func malformed(err error) h1.Reply {
	return basicError(http.StatusBadRequest, codeMalformed, "failed deserializing HTTP body: "+err.Error())
}

// unreadable is the answer to a body that could not be read.
func unreadable(err error) h1.Reply {
	return basicError(http.StatusBadRequest, codeBodyRead, "failed to read request body: "+err.Error())
}
