//go:build unix

package failtest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/internal/filelock"
)

// What the app is told by its environment, beside PORT.
const (
	nameEnv   = "FAILTEST_NAME"   // what it calls itself
	recordEnv = "FAILTEST_RECORD" // the file of the calls it got
	gateEnv   = "FAILTEST_GATE"   // while this file exists, calls to /gate wait
	// What the app says once it listens, before its process ID.
	listens = "app listens as process "
)

// The fields of a call that the app reads.
const (
	idField  = "X-Id"
	keyField = "Idempotency-Key"
)

// An app writes down each call before it answers: its own name and the call's
// ID, a line each. A call with a key it writes down once, whoever of the apps
// that share the record has got it before.
type app struct {
	name, gate string
	record     *os.File

	mu   sync.Mutex // guards what follows
	read *os.File   // the record, as far as it has been read
	seen map[string]bool
}

func runApp() error {
	ln, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return err
	}
	a := &app{name: os.Getenv(nameEnv), gate: os.Getenv(gateEnv), seen: map[string]bool{}}
	if a.record, err = os.OpenFile(os.Getenv(recordEnv), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	if a.read, err = os.Open(os.Getenv(recordEnv)); err != nil {
		return err
	}
	fmt.Println(listens + strconv.Itoa(os.Getpid()))
	server := &http.Server{Handler: a, ReadHeaderTimeout: time.Minute, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	return server.Serve(ln)
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	work()
	if err := a.note(r.Context(), r.Header.Get(idField), r.Header.Get(keyField)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for r.URL.Path == "/gate" {
		if _, err := os.Stat(a.gate); err != nil {
			break
		}
		time.Sleep(2 * time.Millisecond) // between looks at a condition
	}
	work()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = io.WriteString(w, a.name) // the caller has gone: nobody to tell
}

// work takes a while, so that a call is at any point of its way when something
// happens.
func work() { time.Sleep(rand.N(time.Millisecond)) }

// note writes a call down, in one write.
func (a *app) note(ctx context.Context, id, key string) error {
	if id == "" {
		return nil // a knock at the door
	}
	if key != "" {
		a.mu.Lock()
		defer a.mu.Unlock()
		lock, err := filelock.Lock(context.WithoutCancel(ctx), a.record.Name()+".lock")
		if err != nil {
			return err
		}
		defer func() { _ = lock.Unlock() }() // it ends with the process
		if err := a.look(); err != nil || a.seen[id] {
			return err
		}
	}
	_, err := fmt.Fprintf(a.record, "%s %s\n", a.name, id)
	return err
}

// look reads what has been written down since the last look, whole lines all.
func (a *app) look() error {
	lines := bufio.NewScanner(a.read)
	for lines.Scan() {
		_, id, _ := strings.Cut(lines.Text(), " ")
		a.seen[id] = true
	}
	return lines.Err()
}
