package httpapi_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// served collects what a door says it served.
type served struct {
	mu  sync.Mutex // guards what follows
	all []httpapi.Served
	own []string
}

func (s *served) note(one httpapi.Served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.Verb, one.Target, one.Took = strings.Clone(one.Verb), strings.Clone(one.Target), 0
	s.all = append(s.all, one)
}

func (s *served) answer(r *http.Request, began time.Time, h http.Header) func(int) {
	if began.IsZero() {
		panic("no beginning")
	}
	h.Set("Traceparent", "own")
	return func(int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.own = append(s.own, r.Method+" "+r.URL.Path)
	}
}

// await waits for n requests: the last thing a door does is to say so.
func (s *served) await(t *testing.T, n int) []httpapi.Served {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		s.mu.Lock()
		all := slices.Clone(s.all)
		s.mu.Unlock()
		if len(all) >= n {
			return all
		}
	}
	t.Fatalf("served %v, want %d", s.all, n)
	return nil
}

func TestADoorTellsEachRequestItServed(t *testing.T) {
	t.Parallel()
	for name, standardEngine := range map[string]bool{"fast": false, "standard": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := new(served)
			addr := openDoor(t, httpapi.Config{
				Standard: standardEngine, Served: s.note, Own: s.answer,
				Invoke: invoke.HandlerFunc(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
					c.Trace = "00-x"
					if c.Path == "/gone" {
						return nil, &apperr.Error{Reason: apperr.AppUnreachable, What: "gone"}
					}
					return &invoke.Answer{
						Status: 201, Length: 5, Body: invoke.BytesBody([]byte("hello")),
						Fields: invoke.Fields{{Name: "traceparent", Value: "00-x"}},
					}, nil
				}),
			})
			for i, one := range []struct {
				verb, path, body, trace string
				status                  int
			}{
				{"POST", "/v1.0/invoke/x/method/a?b=c", "12", "00-x", 201},
				{"GET", "/v1.0/invoke/x/method/gone", "", "00-x", 500},
				{"GET", "/v1.0/healthz", "", "own", 204},
				{"GET", "/nobody", "", "own", 404},
			} {
				r, err := http.NewRequest(one.verb, "http://"+addr+one.path, strings.NewReader(one.body))
				if err != nil {
					t.Fatal(err)
				}
				answer, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				_ = answer.Body.Close()
				if answer.StatusCode != one.status || answer.Header.Get("Traceparent") != one.trace {
					t.Errorf("%s: %d %q, want %d %q", one.path, answer.StatusCode, answer.Header.Get("Traceparent"), one.status, one.trace)
				}
				got := s.await(t, i+1)[i]
				if got.Verb != one.verb || got.Target != one.path || got.Status != one.status || got.RequestSize != int64(len(one.body)) ||
					one.status == 201 && got.Size != 5 {
					t.Errorf("%s: told %+v", one.path, got)
				}
			}
			if want := []string{"GET /v1.0/healthz", "GET /nobody"}; !slices.Equal(s.own, want) {
				t.Errorf("its own are %q, want %q", s.own, want)
			}
		})
	}
}
