package soaktest_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/net/websocket"
)

// idField carries the ID of a call, and of its answer.
const idField = "X-Id"

// A pageApp is the app that speaks HTTP/1.1.
type pageApp struct {
	server *http.Server
	active atomic.Int64
}

func runPage() error {
	ln, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return err
	}
	a := new(pageApp)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", a.echo)
	mux.HandleFunc("POST /take", a.take)
	mux.HandleFunc("GET /content", a.content)
	mux.HandleFunc("GET /events", a.events)
	mux.HandleFunc("GET /slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.Handle("GET /socket", websocket.Server{Handler: func(c *websocket.Conn) { _, _ = io.Copy(c, c) }})
	mux.HandleFunc("GET /active", a.rest)
	a.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.active.Add(1)
		defer a.active.Add(-1)
		w.Header().Set(idField, r.Header.Get(idField))
		mux.ServeHTTP(w, r)
	})}
	return a.server.Serve(ln)
}

// The writes below fail when the caller has gone: nobody to tell.

func (a *pageApp) echo(w http.ResponseWriter, r *http.Request) {
	if body, err := io.ReadAll(r.Body); err == nil {
		_, _ = w.Write(body)
	}
}

// take checks a large body.
func (a *pageApp) take(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	whole, err := compare(r.Body, content(r.Header.Get(idField), n))
	if err != nil {
		fmt.Fprintln(os.Stderr, r.URL, err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if whole {
		_, _ = fmt.Fprintf(w, "%s took %d", r.Header.Get(idField), n)
	}
}

func (a *pageApp) content(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(n))
	_, _ = w.Write(content(r.Header.Get(idField), n))
}

// events goes on until nobody listens any more.
func (a *pageApp) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		_, _ = fmt.Fprintf(w, "data: %s %d\n\n", r.Header.Get(idField), i)
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// rest says how many calls there are beside this one, and closes the idle
// connections, so that what is left of them does not depend on the load.
func (a *pageApp) rest(w http.ResponseWriter, _ *http.Request) {
	_, _ = fmt.Fprint(w, a.active.Load()-1)
	a.server.SetKeepAlivesEnabled(false)
	a.server.SetKeepAlivesEnabled(true)
}
