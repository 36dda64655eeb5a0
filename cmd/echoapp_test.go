package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// echoApp is the app of the stories: a small HTTP server on the port of its
// argument or of PORT. It says on stdout what it is asked and answers with it.
//
//	/status/404       that status
//	/slow             an answer in pieces that takes a minute
//	/headers          the request's headers, one a row
//	/exit/3           ends with that status
//	/only-get         405 with Allow: GET, HEAD
//	/wants-body       422 without a body; described in /openapi.json
//	anything else     200, the method, the path and the body
func echoApp(args []string) int {
	port, err := portOf(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	exit := make(chan int, 1)
	srv := &http.Server{Handler: echoHandler(exit), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	fmt.Println("echoapp listens on", port)
	select {
	case <-ctx.Done():
		fmt.Println("echoapp was asked to end")
	case status := <-exit:
		return status
	case err := <-served:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(last); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return 1
	}
	return 0
}

func echoHandler(exit chan<- int) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.PathValue("code"))
		if err != nil {
			code = http.StatusBadRequest
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		say(w, `{"detail":"status %d"}`, code)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		flush := http.NewResponseController(w)
		for i := range 600 {
			say(w, "piece %d\n", i)
			_ = flush.Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			say(w, "%s: %s\n", strings.ToLower(name), strings.Join(values, ", "))
		}
	})
	mux.HandleFunc("/exit/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		w.WriteHeader(http.StatusNoContent)
		_ = http.NewResponseController(w).Flush()
		exit <- code
	})
	mux.HandleFunc("/only-get", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		say(w, "got")
	})
	mux.HandleFunc("POST /wants-body", func(w http.ResponseWriter, r *http.Request) {
		if _, err := bufio.NewReader(r.Body).ReadByte(); err != nil {
			http.Error(w, `{"detail":"body required"}`, http.StatusUnprocessableEntity)
			return
		}
		say(w, "taken")
	})
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		say(w, `{"paths":{"/wants-body":{"post":{"requestBody":{"content":{"application/json":
			{"schema":{"$ref":"#/components/schemas/Note"}}}}}}},
			"components":{"schemas":{"Note":{"required":["title","copies"],
			"properties":{"title":{"type":"string"},"copies":{"type":"integer"},"why":{"type":"string"}}}}}}`)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		fmt.Println("asked for", r.Method, r.URL.Path)
		say(w, "%s %s %s", r.Method, r.URL.RequestURI(), body)
	})
	return mux
}

// say answers; a client that has gone is nobody's to tell.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
