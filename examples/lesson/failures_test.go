package lesson_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/porttest"
)

// A door is a plain HTTP client of todo-api's sidecar, as curl is.
type door struct {
	t    *testing.T
	base string
}

func (w *world) door() door {
	w.t.Helper()
	return door{w.t, fmt.Sprintf("http://127.0.0.1:%d", w.instance(todo).HTTPPort)}
}

// An answer is what of an HTTP answer the two forms must agree on.
type answer struct {
	status int
	fields string
	body   string
}

func (d door) post(path, body string, fields ...string) answer {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.base+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "Host" {
			req.Host = fields[i+1]
			continue
		}
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	resp.Header.Del("Date")
	return answer{resp.StatusCode, fmt.Sprint(resp.Header), string(text)}
}

// A failure is one row of the lesson's table.
type failure struct {
	name    string
	billing *service // nil: not started
	ready   string   // what billing says when the failure can be seen
	timeout string   // of each call

	message string // a regular expression for the whole of it
	reason  string // in the field pillion-error
	status  int    // of `pillion invoke`
	said    string // by `pillion invoke`
	advice  string // of todo-api, which reads nothing but the message
}

func failures(t *testing.T) []failure {
	t.Helper()
	closed, open := porttest.Reserve(t).String(), porttest.Reserve(t).String()
	return []failure{
		{
			name:    "app not found",
			timeout: "1m",
			message: `failed to invoke, id: billing-service, err: couldn't find service: billing-service ` +
				`\(app-id billing-service not found: running here is todo-api; start it with: pillion run --app-id billing-service -- <command>\)`,
			reason: "APP_NOT_FOUND", status: 70,
			said:   `no app "billing-service" on this machine`,
			advice: "pending: billing-service is not running; start it and charge again",
		},
		{
			name: "connection refused",
			billing: &service{
				app: billing, in: inGo, flags: []string{"--app-port", closed},
				shell: "PORT=" + open + " exec " + program(billing),
			},
			ready:   "billing-service listens on " + open + ", not " + closed,
			timeout: "1m",
			message: `failed to invoke, id: billing-service, err: connection refused: billing-service's app port ` + closed +
				` is closed, its process listens on ` + open + `; start it with --app-port ` + open,
			reason: "APP_UNREACHABLE", status: 76,
			said:   "start it with --app-port " + open,
			advice: "pending: billing-service runs, but its app cannot be reached; check its --app-port",
		},
		{
			name:    "deadline exceeded",
			billing: &service{app: billing, in: inGo, env: []string{"BILLING_DELAY=1h"}},
			ready:   "billing-service is ready",
			timeout: "5s",
			message: `failed to invoke, id: billing-service, err: DEADLINE_EXCEEDED: context deadline exceeded after [0-9.]+m?s, [0-9.]+m?s of it in the app`,
			reason:  "DEADLINE_EXCEEDED", status: 75,
			said:   "billing-service did not answer",
			advice: "pending: billing-service took too long; it may have charged, so look before charging again",
		},
	}
}

// The three failures of the lesson's table, as each kind of client sees them:
// plain HTTP in both forms, `pillion invoke`, and an app that has only the
// message, as the SDKs have.
func TestTheThreeFailuresOfTheLesson(t *testing.T) {
	t.Parallel()
	for _, in := range []language{inGo, inPython} {
		for _, f := range failures(t) { // with ports of their own
			t.Run(f.name+" seen from "+string(in), func(t *testing.T) {
				t.Parallel()
				f.check(t, in)
			})
		}
	}
}

func (f failure) check(t *testing.T, in language) {
	t.Helper()
	w := newWorld(t)
	w.run(service{app: todo, in: in, env: []string{"CALL_TIMEOUT=" + f.timeout}})
	if f.billing != nil {
		w.begin(*f.billing).await(f.ready)
	}

	path := w.door().post("/v1.0/invoke/billing-service/method/charge", `{"task_id":"1"}`, "pillion-timeout", f.timeout)
	f.checkAnswer(t, path)
	header := w.door().post("/charge", `{"task_id":"1"}`, "pillion-timeout", f.timeout, "dapr-app-id", billing)
	f.checkAnswer(t, header)
	if f.status != 75 && path != header { // a time-out says how long it took
		t.Errorf("the path form answers %+v\nthe header form %+v", path, header)
	}

	out, errs, status := w.pillion("invoke", billing, "charge", "-d", `{"task_id":"1"}`, "--timeout", f.timeout)
	if out != "" || status != f.status || !strings.Contains(errs, f.said) {
		t.Errorf("pillion invoke: exit %d, %q, %s", status, out, errs)
	}

	made := w.task("tasks", "-d", `{"title":"Buy groceries"}`)
	if done := w.task("tasks/" + made.ID + "/complete"); done.Billing != f.advice || done.Status != "completed" {
		t.Errorf("todo-api answers %+v", done)
	}
	w.logged(todo, "Not charged: "+f.advice)
}

func (f failure) checkAnswer(t *testing.T, a answer) {
	t.Helper()
	var said struct{ ErrorCode, Message string }
	if err := json.Unmarshal([]byte(a.body), &said); err != nil {
		t.Errorf("the answer is %q: %v", a.body, err)
	}
	if a.status != http.StatusInternalServerError || said.ErrorCode != "ERR_DIRECT_INVOKE" || !strings.Contains(a.fields, f.reason) {
		t.Errorf("answered %+v", a)
	}
	if !regexp.MustCompile("^" + f.message + "$").MatchString(said.Message) {
		t.Errorf("message is %s\nwant       %s", said.Message, f.message)
	}
}

// Three ways to say the same: the path, the header, the host's name.
func TestAllFormsOfACallAnswerAlike(t *testing.T) {
	t.Parallel()
	for _, in := range []language{inGo, inPython} {
		t.Run(string(in), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.run(service{app: todo, in: in}, service{app: notify, in: in})
			d := w.door()
			for _, c := range []struct {
				name, method, body string
				status             int
			}{
				{"a message", "notify", `{"message":"hi"}`, http.StatusOK},
				{"no such method", "nothing", `{}`, http.StatusNotFound},
				{"a body of the wrong form", "notify", `{"message":`, http.StatusUnprocessableEntity},
				{"a query", "notify?a=b%20c", `{"message":"hi"}`, http.StatusOK},
			} {
				path := d.post("/v1.0/invoke/notification-service/method/"+c.method, c.body)
				header := d.post("/"+c.method, c.body, "dapr-app-id", notify)
				host := d.post("/"+c.method, c.body, "Host", notify+".localhost")
				if path.status != c.status || strings.Contains(path.fields, "Pillion-Error") {
					t.Errorf("%s: the app's own answer is changed: %+v", c.name, path)
				}
				if path != header || path != host {
					t.Errorf("%s\npath   %+v\nheader %+v\nhost   %+v", c.name, path, header, host)
				}
			}
		})
	}
}

// `pillion invoke notification-service notify` as it stands: the service in Go
// takes an empty body, the one in Python wants one and the hint says which.
func TestACallWithoutABody(t *testing.T) {
	t.Parallel()
	t.Run("in Go", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.run(service{app: notify, in: inGo})
		if got := w.invoke(notify, "notify"); got != "{\"status\":\"delivered\",\"message\":\"(no message)\"}\n" {
			t.Errorf("answered %q", got)
		}
	})
	t.Run("in Python", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.run(service{app: notify, in: inPython})
		out, errs, status := w.pillion("invoke", notify, "notify")
		if status != 4 || !strings.Contains(out, "field required") ||
			!strings.Contains(errs, "422 Unprocessable Entity") || !strings.Contains(errs, `add -d '{"message":"..."}'`) {
			t.Errorf("exit %d, %q, %s", status, out, errs)
		}
		out, errs, status = w.pillion("invoke", notify, "notify", "-X", "GET")
		if status != 4 || !strings.Contains(out, "Method Not Allowed") || !strings.Contains(errs, "hint: add -X POST") {
			t.Errorf("exit %d, %q, %s", status, out, errs)
		}
	})
}
