package soaktest_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// callees are those that are restarted.
type callees struct {
	m        *machine
	running  map[string]*process // by kind
	restarts int
}

// comings are the IDs of callees that are restarted.
var comings = map[string]string{page: "new-pages", service: "new-services"}

func (m *machine) callees(t *testing.T) *callees {
	t.Helper()
	c := &callees{m: m, running: map[string]*process{}}
	t.Cleanup(func() {
		for _, p := range c.running {
			p.kill() // if it could not be stopped
		}
	})
	for kind, id := range comings {
		p, err := m.start(id, kind)
		if err != nil {
			t.Fatal(err)
		}
		c.running[kind] = p
	}
	return c
}

// restart ends both callees and starts them again: the first time they are
// stopped, the second time killed, and so on.
func (c *callees) restart() error {
	for kind, id := range comings {
		p := c.running[kind]
		if c.restarts/len(comings)%2 == 0 {
			if err := p.stop(); err != nil {
				return err
			}
		} else {
			p.kill()
			if err := p.sound(); err != nil {
				return err
			}
		}
		next, err := c.m.start(id, kind)
		if err != nil {
			return err
		}
		c.running[kind] = next
		c.restarts++
	}
	return nil
}

func (c *callees) stop(t *testing.T) {
	t.Helper()
	for _, p := range c.running {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}
}

// run is one window of load.
func (l *load) run(come *callees, again more) {
	stop := l.work(workers, laps, []target{
		{page: "pages", service: "services", stays: true},
		{page: comings[page], service: comings[service]},
	})
	defer stop()
	for n := 0; again(n); n++ {
		if err := come.restart(); err != nil {
			l.t.Error(err)
			return
		}
	}
}

// rest waits until no app has a call any more: whoever left has left
// everywhere.
func (l *load) rest(t *testing.T) {
	t.Helper()
	for name, active := range map[string]func(*testing.T, string) string{
		"pages": l.activePage, comings[page]: l.activePage,
		"services": l.activeService, comings[service]: l.activeService,
	} {
		for deadline := time.Now().Add(patience); ; time.Sleep(lookEvery) {
			n := active(t, name)
			if n == "0" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s still has %s calls, and every client has gone", name, n)
			}
		}
	}
}

func (l *load) activePage(t *testing.T, id string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+l.http+"/active", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(invoke.FieldTarget, id)
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }() // read to its end
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s, %v", id, answer.StatusCode, text, err)
	}
	return string(text)
}

func (l *load) activeService(t *testing.T, id string) string {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+l.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // its call is over
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "dapr-app-id", id), patience)
	defer cancel()
	in := new(wrapperspb.StringValue)
	if err := conn.Invoke(ctx, "/soak.Soak/Active", new(wrapperspb.StringValue), in); err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return in.GetValue()
}
