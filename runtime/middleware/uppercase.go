package middleware

import (
	"io"
	"net/http"
	"strings"

	"github.com/pillion-dev/pillion/runtime/config"
)

// newUppercase makes capitals of the letters a to z in bodies, to see a pipeline
// at work. Lengths stay what they are.
func newUppercase(c config.Component) (Handler, error) {
	direction, _ := c.Property("direction")
	direction = strings.ToLower(direction)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if direction != "response" && r.Body != nil && r.Body != http.NoBody {
				r.Body = louderBody{r.Body}
			}
			if direction == "response" || direction == "both" {
				w = louderWriter{w}
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}

func capitals(p []byte) {
	for i, c := range p {
		if 'a' <= c && c <= 'z' {
			p[i] = c - 'a' + 'A'
		}
	}
}

type louderBody struct{ io.ReadCloser }

func (b louderBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	capitals(p[:n])
	return n, err
}

type louderWriter struct{ http.ResponseWriter }

func (w louderWriter) Write(p []byte) (int, error) {
	louder := append([]byte(nil), p...) // p is the caller's
	capitals(louder)
	return w.ResponseWriter.Write(louder)
}

// Unwrap lets http.ResponseController find the writer underneath.
func (w louderWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
