package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// actorLimit is how long an actor plays at most, so that none outlives a test
// that went wrong.
const actorLimit = 3 * time.Minute

// An actor is the app of stories that need one to behave badly, late or in a
// certain order. It listens on the ports of its arguments, or on none.
//
//	/hold/{file}             answers when the file exists
//	/exists/{file}           200 if the file exists, 503 otherwise
//	/env/{name}              a variable of its environment
//	/dapr/config             what a sidecar asks at its start; it says so
//	/call/{app}/{method...}  calls another app through its sidecar
//	anything else            its name (-name), the method and the path
type actor struct {
	name       string
	listenWhen string // a file
	onTerm     string // app/method called when asked to end
	exit       int
	deaf       bool
	client     http.Client
}

func actorMain(args []string) int {
	a := actor{client: http.Client{Timeout: time.Minute}}
	flags := flag.NewFlagSet("actor", flag.ContinueOnError)
	flags.StringVar(&a.name, "name", "actor", "")
	flags.StringVar(&a.listenWhen, "listen-when", "", "")
	flags.StringVar(&a.onTerm, "on-term", "", "")
	flags.IntVar(&a.exit, "exit", 0, "")
	flags.BoolVar(&a.deaf, "deaf", false, "")
	if flags.Parse(args) != nil {
		return 2
	}
	asked := make(chan os.Signal, 4)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	ctx, cancel := context.WithTimeout(context.Background(), actorLimit)
	defer cancel()
	fmt.Println("actor is up")
	if a.listenWhen != "" && !a.awaitFile(ctx, a.listenWhen, asked) {
		return 143
	}
	var open []net.Listener // all of them before one answers
	for _, port := range flags.Args() {
		ln, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		open = append(open, ln)
	}
	for _, ln := range open {
		srv := &http.Server{Handler: a.handler(), ReadHeaderTimeout: time.Minute}
		defer srv.Close() //nolint:errcheck // the process ends
		go srv.Serve(ln)  //nolint:errcheck // likewise
	}
	for {
		select {
		case <-ctx.Done():
			return 99
		case s := <-asked:
			fmt.Println("actor got", s)
		}
		if !a.deaf {
			return a.end(ctx)
		}
	}
}

// end is what it does when it is asked to: its last call goes through a sidecar
// that must still be there.
func (a *actor) end(ctx context.Context) int {
	if a.onTerm != "" {
		app, method, _ := strings.Cut(a.onTerm, "/")
		status, body, err := a.call(ctx, app, method)
		fmt.Println("last call:", status, body, err)
	}
	fmt.Println("actor ends")
	return a.exit
}

// awaitFile waits for a file; false if it was asked to end first.
func (a *actor) awaitFile(ctx context.Context, name string, asked <-chan os.Signal) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(name); err == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-asked:
			return false
		case <-tick.C:
		}
	}
}

func (a *actor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hold/{file}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("actor holds")
		if a.awaitFile(r.Context(), r.PathValue("file"), nil) {
			say(w, "held until %s", r.PathValue("file"))
		}
	})
	mux.HandleFunc("/dapr/config", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(a.name, "was asked:", r.Method, r.URL.Path, "for", r.Header.Get("Dapr-App-Id"))
		say(w, `{"entities":["Cart"]}`)
	})
	mux.HandleFunc("/exists/{file}", func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat(r.PathValue("file")); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/env/{name}", func(w http.ResponseWriter, r *http.Request) {
		say(w, "%s", os.Getenv(r.PathValue("name")))
	})
	mux.HandleFunc("/call/{app}/{method...}", func(w http.ResponseWriter, r *http.Request) {
		status, body, err := a.call(r.Context(), r.PathValue("app"), r.PathValue("method"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.WriteHeader(status)
		say(w, "%s", body)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		say(w, "%s: %s %s", a.name, r.Method, r.URL.RequestURI())
	})
	return mux
}

// call calls another app through this app's sidecar.
func (a *actor) call(ctx context.Context, app, method string) (int, string, error) {
	url := os.Getenv("DAPR_HTTP_ENDPOINT") + "/v1.0/invoke/" + app + "/method/" + method
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(body), err
}

// onlyMessage is a client that shows what SDKs show of an error: its message,
// and nothing else.
func onlyMessage(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: onlymessage URL [NAME VALUE]")
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), actorLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, args[0], nil)
	if err == nil {
		if len(args) == 3 {
			req.Header.Set(args[1], args[2])
		}
		err = showMessage(req)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func showMessage(req *http.Request) error {
	resp, err := (&http.Client{Timeout: waitLimit}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read as far as wanted
	var e struct{ Message string }
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
		return err
	}
	fmt.Println(e.Message)
	if resp.StatusCode >= http.StatusBadRequest {
		return errors.New("the call failed")
	}
	return nil
}
