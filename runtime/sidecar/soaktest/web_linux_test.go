package soaktest_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// request is one to the HTTP door, in either of the ways to name an app.
func (w *worker) request(ctx context.Context, c call, method, path string, body io.Reader) *http.Request {
	url, header := "http://"+w.http+"/v1.0/invoke/"+c.target.page+"/method"+path, ""
	if w.chance.IntN(2) == 0 {
		url, header = "http://"+w.http+path, c.target.page
	}
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		panic(err) // the paths are ours
	}
	r.Header.Set(idField, c.id)
	if header != "" {
		r.Header.Set(invoke.FieldTarget, header)
	}
	return r
}

// do sends a request and judges its answer, which has to have a body.
func (w *worker) do(c call, r *http.Request, status int, body []byte) string {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	answer, err := w.client.Do(r.WithContext(ctx))
	if err != nil {
		return w.unanswered(c, r, err)
	}
	defer func() { _ = answer.Body.Close() }() // read to its end or broken
	if reason := w.ours(c, answer); reason != "" {
		return reason
	}
	if got := answer.Header.Get(idField); got != c.id || answer.StatusCode != status {
		w.wrong("%s %s: status %d with the ID %q", c.kind, c.id, answer.StatusCode, got)
		return mixedUp
	}
	whole, err := compare(answer.Body, body)
	switch {
	case err != nil:
		w.wrong("%s %s: %v", c.kind, c.id, err)
		return mixedUp
	case !whole:
		return broken
	}
	return well
}

// unanswered judges a request that got no answer: only one whose body was cut
// off may be left without.
func (w *worker) unanswered(c call, r *http.Request, err error) string {
	if r.ContentLength < 0 || r.ContentLength >= 1<<20 {
		return "broken off in the upload"
	}
	w.wrong("%s %s: the door does not answer: %v", c.kind, c.id, err)
	return "no answer"
}

// ours is the reason of an answer that pillion made; it must be a known one.
func (w *worker) ours(c call, answer *http.Response) string {
	reason := apperr.Reason(answer.Header.Get(invoke.FieldError))
	if reason == "" {
		return ""
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != reason.HTTPStatus() || !bytes.Contains(text, []byte(reason.Code())) || reason == apperr.Internal {
		w.wrong("%s %s: %s with %d: %s, %v", c.kind, c.id, reason, answer.StatusCode, text, err)
	}
	return string(reason)
}

func (w *worker) post(c call) string {
	body := content(c.id, 54)
	return w.do(c, w.request(w.t.Context(), c, "POST", "/echo", bytes.NewReader(body)), 200, body)
}

func (w *worker) get(c call) string {
	return w.do(c, w.request(w.t.Context(), c, "GET", "/content?n=10240", nil), 200, content(c.id, 10240))
}

func (w *worker) download(c call) string {
	return w.do(c, w.request(w.t.Context(), c, "GET", "/content?n=1048576", nil), 200, content(c.id, 1<<20))
}

func (w *worker) upload(c call) string {
	return w.take(c, bytes.NewReader(content(c.id, 1<<20)))
}

func (w *worker) uploadChunked(c call) string {
	return w.take(c, io.MultiReader(bytes.NewReader(content(c.id, 1<<20))))
}

func (w *worker) take(c call, body io.Reader) string {
	return w.do(c, w.request(w.t.Context(), c, "POST", "/take?n=1048576", body), 200, fmt.Appendf(nil, "%s took %d", c.id, 1<<20))
}

func (w *worker) nowhere(c call) string {
	return w.do(c, w.request(w.t.Context(), c, "GET", "/nowhere", nil), 404, []byte("404 page not found\n"))
}

func (w *worker) nobody(c call) string {
	c.target.page = "nobody"
	return expected(apperr.AppNotFound, w.do(c, w.request(w.t.Context(), c, "GET", "/content?n=1", nil), 0, nil))
}

// timeout asks for an answer that never comes.
func (w *worker) timeout(c call) string {
	r := w.request(w.t.Context(), c, "GET", "/slow", nil)
	r.Header.Set(invoke.FieldTimeout, fmt.Sprint(20+w.chance.IntN(60), "ms"))
	return expected(apperr.DeadlineExceeded, w.do(c, r, 0, nil))
}

// expected is an outcome, where the reason is what should come.
func expected(reason apperr.Reason, outcome string) string {
	if outcome == string(reason) {
		return well
	}
	return outcome
}

// events reads a few events of a stream without end, and goes.
func (w *worker) events(c call) string {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	r := w.request(ctx, c, "GET", "/events", nil)
	answer, err := w.client.Do(r)
	if err != nil {
		return w.unanswered(c, r, err)
	}
	defer func() { _ = answer.Body.Close() }() // the point of it
	if reason := w.ours(c, answer); reason != "" {
		return reason
	}
	lines := bufio.NewReader(answer.Body)
	for i := range 1 + w.chance.IntN(5) {
		line, err := lines.ReadString('\n')
		if err == nil {
			_, err = lines.Discard(1)
		}
		if err != nil {
			return broken
		}
		if want := fmt.Sprintf("data: %s %d", c.id, i); strings.TrimSpace(line) != want {
			w.wrong("%s %s: %q, want %q", c.kind, c.id, line, want)
			return mixedUp
		}
	}
	return well
}
