package meshtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// What the app is told by its environment, beside PORT.
const (
	nameEnv   = "MESHTEST_NAME"   // what it calls itself in its answers
	recordEnv = "MESHTEST_RECORD" // the file of the calls it got
	gateEnv   = "MESHTEST_GATE"   // while this file exists, calls to /gate wait
	lateEnv   = "MESHTEST_LATE"   // it listens only when this file exists
)

// An echo is the app's answer.
type echo struct {
	Name    string      `json:"name"`
	Method  string      `json:"method"`
	Path    string      `json:"path"`
	Headers http.Header `json:"headers"`
	Body    string      `json:"body"`
	// Most is the largest number of calls it had at once.
	Most int64 `json:"most"`
}

type app struct {
	name   string
	gate   string
	record *os.File
	mu     sync.Mutex // guards what follows
	now    int64
	most   atomic.Int64
}

// runApp is an app that writes down each call before it answers: its own name
// and the X-Id of the call, a line each.
func runApp() error {
	late(os.Getenv(lateEnv))
	ln, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return err
	}
	a := &app{name: os.Getenv(nameEnv), gate: os.Getenv(gateEnv)}
	a.record, err = os.OpenFile(os.Getenv(recordEnv), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: a, ReadHeaderTimeout: time.Minute}
	return server.Serve(ln)
}

// late waits for a file, if there is one to wait for.
func late(file string) {
	for file != "" {
		if _, err := os.Stat(file); err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.enter(1)
	defer a.enter(-1)
	if _, err := fmt.Fprintf(a.record, "%s %s\n", a.name, r.Header.Get("X-Id")); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if r.URL.Path == "/gate" {
		for gone := false; !gone; {
			_, err := os.Stat(a.gate)
			if gone = err != nil; !gone {
				time.Sleep(2 * time.Millisecond)
			}
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	data, err := json.Marshal(echo{
		Name: a.name, Method: r.Method, Path: r.URL.RequestURI(), Headers: r.Header, Body: string(body), Most: a.most.Load(),
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // the caller has gone: nobody to tell
}

func (a *app) enter(n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now += n
	a.most.Store(max(a.most.Load(), a.now))
}

// runOccupier holds the port of mDNS for itself, as programs that do not share
// it do.
func runOccupier() error {
	conn, err := net.ListenPacket("udp4", "0.0.0.0:5353")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // it ends with the process
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
