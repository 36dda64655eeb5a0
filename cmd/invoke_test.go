package cmd

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

// answers is a caller that answers itself, and keeps the last call and its
// body.
type answers struct {
	with func(c *invoke.Call) (*invoke.Answer, error)
	cfg  config.Sidecar
	last *invoke.Call
	body []byte
}

func (a *answers) Serve(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
	if c.Path != "/openapi.json" {
		a.last = c
		if c.Body != nil {
			a.body, _ = io.ReadAll(c.Body)
		}
	}
	if c.Timing != nil {
		*c.Timing = invoke.Timing{Resolve: 20 * time.Microsecond, Connect: 310 * time.Microsecond, TLS: 1100 * time.Microsecond, App: 4700 * time.Microsecond}
	}
	return a.with(c)
}

func (a *answers) Self() identity.ID {
	id, _ := identity.New("public", a.cfg.Namespace, a.cfg.AppID)
	return id
}

func (a *answers) Close() error { return nil }

func answer(status int, body string, fields ...invoke.Field) *invoke.Answer {
	peer, _ := identity.New("public", "default", "todo-api")
	return &invoke.Answer{
		Status: status, Major: 1, Fields: fields, Body: invoke.BytesBody([]byte(body)), Length: int64(len(body)),
		Instance: "9wd1x2c8", Peer: peer, Attempts: 1,
		Endpoint: discovery.Endpoint{Source: "local", Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:41233")}},
	}
}

// invoked runs `pillion invoke` against a.
func invoked(t *testing.T, c *ui.Console, a *answers, args ...string) int {
	t.Helper()
	cmd := newInvokeCmd(c, func(_ context.Context, _ config.Home, cfg config.Sidecar) (caller, error) {
		a.cfg = cfg
		return a, nil
	})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetFlagErrorFunc(flagError)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return c.Report(withStatus(cmd, err))
}

func fixed(status int, body string, fields ...invoke.Field) *answers {
	return &answers{with: func(*invoke.Call) (*invoke.Answer, error) { return answer(status, body, fields...), nil }}
}

func TestInvokeSendsWhatWasTyped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"task.json": "{}", "note.txt": "plain", "raw": "\x00\x01", "list": " [1]"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return "@" + filepath.Join(dir, name) }
	for name, c := range map[string]struct {
		args                   []string
		verb, path, body, kind string
		length                 int64
	}{
		"nothing":           {[]string{"todo-api", "tasks"}, "POST", "/tasks", "", "", 0},
		"leading slash":     {[]string{"todo-api", "//tasks"}, "POST", "/tasks", "", "", 0},
		"root":              {[]string{"todo-api", "/", "-X", "get"}, "GET", "/", "", "", 0},
		"bytes kept":        {[]string{"todo-api", "a%2Fb//c?x=1"}, "POST", "/a%2Fb//c?x=1", "", "", 0},
		"escaped":           {[]string{"todo-api", "a b#ü"}, "POST", "/a%20b%23%C3%BC", "", "", 0},
		"query":             {[]string{"todo-api", "t?x=1", "--query", "q=a b&c", "--query", "z"}, "POST", "/t?x=1&q=a+b%26c&z", "", "", 0},
		"-v is the verb":    {[]string{"todo-api", "t", "-v", "DELETE"}, "DELETE", "/t", "", "", 0},
		"--verb":            {[]string{"todo-api", "t", "--verb=PUT"}, "PUT", "/t", "", "", 0},
		"JSON":              {[]string{"todo-api", "t", "-d", `{"a":1}`}, "POST", "/t", `{"a":1}`, "application/json", 7},
		"text":              {[]string{"todo-api", "t", "-d", `hello {`}, "POST", "/t", `hello {`, "text/plain; charset=utf-8", 7},
		"empty data":        {[]string{"todo-api", "t", "-d", ""}, "POST", "/t", "", "", 0},
		"JSON file":         {[]string{"todo-api", "t", "-d", at("task.json")}, "POST", "/t", "{}", "application/json", 2},
		"text file":         {[]string{"todo-api", "t", "-d", at("note.txt")}, "POST", "/t", "plain", "text/plain; charset=utf-8", 5},
		"bytes":             {[]string{"todo-api", "t", "-f", filepath.Join(dir, "raw")}, "POST", "/t", "\x00\x01", "application/octet-stream", 2},
		"JSON by its looks": {[]string{"todo-api", "t", "-f", filepath.Join(dir, "list")}, "POST", "/t", " [1]", "application/json", 4},
		"own type":          {[]string{"todo-api", "t", "-d", "{}", "-H", "content-type: x/y"}, "POST", "/t", "{}", "x/y", 2},
		"as dapr invoke":    {[]string{"--app-id", "todo-api", "--method", "t", "--verb", "GET"}, "GET", "/t", "", "", 0},
		"stdin":             {[]string{"todo-api", "t", "-d", "@-"}, "POST", "/t", `{"in":1}`, "application/json", -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			con, _, said := console(t)
			con.In = strings.NewReader(`{"in":1}`)
			a := fixed(200, "")
			if status := invoked(t, con, a, c.args...); status != 0 {
				t.Fatalf("status %d, %s", status, said)
			}
			if a.last.Verb != c.verb || a.last.Path != c.path || string(a.body) != c.body || a.last.Length != c.length {
				t.Errorf("called %s %s with %q of %d, want %s %s with %q of %d",
					a.last.Verb, a.last.Path, a.body, a.last.Length, c.verb, c.path, c.body, c.length)
			}
			if got := a.last.Fields.Get("content-type"); got != c.kind {
				t.Errorf("content type %q, want %q", got, c.kind)
			}
			if a.cfg.AppID != identity.CLI || a.last.Target.App != "todo-api" {
				t.Errorf("%s calls %s", a.cfg.AppID, a.last.Target.App)
			}
		})
	}
}

func TestInvokeWritesTheBodyByteForByteAndNothingElseToStdout(t *testing.T) {
	t.Parallel()
	body := "\x00\xff no newline \x1b[31m"
	c, out, said := console(t)
	status := invoked(t, c, fixed(200, body, invoke.Field{Name: "X-A", Value: "1\x1b"}), "todo-api", "t", "-i", "--verbose", "--timing")
	if status != 0 || out.String() != body {
		t.Errorf("status %d, stdout %q, want %q", status, out, body)
	}
	for _, want := range []string{
		"HTTP/1.1 200 OK\nX-A: 1\\x1b\ncontent-length: 19\n\n",
		"pillion: answered by instance 9wd1x2c8, found by local, 127.0.0.1:41233, spiffe://public/ns/default/todo-api, called as spiffe://public/ns/default/pillion-cli\n",
		"resolve\t20us\tthis machine\nconnect\t310us\t127.0.0.1:41233\nTLS\t1.1ms\ttodo-api\napp\t4.7ms\t200\n",
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("stderr lacks %q:\n%s", want, said)
		}
	}
}

func TestInvokesExitStatusSaysWhoRefused(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]int{200: 0, 204: 0, 302: 0, 400: 4, 404: 4, 499: 4, 500: 5, 503: 5} {
		c, _, _ := console(t)
		if got := invoked(t, c, fixed(status, "x"), "todo-api", "t", "-d", "x"); got != want {
			t.Errorf("an answer of %d: exit status %d, want %d", status, got, want)
		}
	}
	for reason, want := range map[apperr.Reason]int{
		apperr.AppNotFound: 70, apperr.DiscoveryFailed: 71, apperr.PeerUnreachable: 72, apperr.PeerNotTrusted: 73,
		apperr.NamespaceDenied: 74, apperr.DeadlineExceeded: 75, apperr.AppUnreachable: 76, apperr.ProtocolError: 77,
		apperr.OwnConfig: 78, apperr.TargetInvalid: 2, apperr.Cancelled: 130,
	} {
		c, _, _ := console(t)
		a := &answers{with: func(*invoke.Call) (*invoke.Answer, error) { return nil, &apperr.Error{Reason: reason, What: "x"} }}
		if got := invoked(t, c, a, "todo-api", "t"); got != want {
			t.Errorf("%s: exit status %d, want %d", reason, got, want)
		}
	}
}

func TestTheAppsOwnRefusalIsOneLineWithoutItsQuery(t *testing.T) {
	t.Parallel()
	c, out, said := console(t)
	invoked(t, c, fixed(404, `{"detail":"no task 43"}`), "todo-api", "tasks/43?token=s3cret", "-X", "GET")
	if out.String() != `{"detail":"no task 43"}` {
		t.Errorf("stdout is %q", out)
	}
	if !strings.HasPrefix(said.String(), "pillion: todo-api answered 404 Not Found, GET /tasks/43, ") || strings.Contains(said.String(), "s3cret") {
		t.Errorf("stderr is %q", said)
	}
}

func TestHintsForUsualRefusals(t *testing.T) {
	t.Parallel()
	allow := func(v string) invoke.Field { return invoke.Field{Name: "Allow", Value: v} }
	openapi := `{"paths":{"/tasks/{id}":{"post":{"requestBody":{"content":{"application/json":{"schema":
		{"$ref":"#/components/schemas/T"}}}}}}},"components":{"schemas":{"T":{"required":["title","n","ok"],
		"properties":{"title":{"type":"string"},"n":{"type":"integer"},"ok":{"type":"boolean"}}}}}}`
	for name, c := range map[string]struct {
		args   []string
		status int
		fields []invoke.Field
		api    string
		want   string
	}{
		"405 with GET":          {[]string{"todo-api", "t"}, 405, []invoke.Field{allow("HEAD, GET")}, "", "pillion: hint: add -X GET\n"},
		"405 with PUT":          {[]string{"todo-api", "t"}, 405, []invoke.Field{allow("PUT, DELETE")}, "", "pillion: hint: add -X PUT\n"},
		"405, default, no word": {[]string{"todo-api", "t"}, 405, nil, "", "pillion: hint: add -X GET\n"},
		"405, chosen, no word":  {[]string{"todo-api", "t", "-X", "PUT"}, 405, nil, "", ""},
		"405, a bad Allow":      {[]string{"todo-api", "t"}, 405, []invoke.Field{allow("'; rm -rf /")}, "", ""},
		"422 and no body":       {[]string{"todo-api", "t"}, 422, nil, "", `pillion: hint: the app wants a body: add -d '{"message":"..."}'` + "\n"},
		"400, described":        {[]string{"todo-api", "tasks/7"}, 400, nil, openapi, `pillion: hint: the app wants a body: add -d '{"title":"...","n":0,"ok":false}'` + "\n"},
		"415 and a body":        {[]string{"todo-api", "t", "-d", "x"}, 415, nil, "", ""},
		"404":                   {[]string{"todo-api", "t"}, 404, nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			con, _, said := console(t)
			a := &answers{with: func(call *invoke.Call) (*invoke.Answer, error) {
				if call.Path == "/openapi.json" {
					if c.api == "" {
						return answer(404, ""), nil
					}
					return answer(200, c.api), nil
				}
				return answer(c.status, "", c.fields...), nil
			}}
			invoked(t, con, a, c.args...)
			_, rest, _ := strings.Cut(said.String(), "\n")
			if rest != c.want {
				t.Errorf("after the first line stderr is %q, want %q", rest, c.want)
			}
		})
	}
}

func TestAnAnswerThatBreaksOffIsAnError(t *testing.T) {
	t.Parallel()
	a := &answers{with: func(*invoke.Call) (*invoke.Answer, error) {
		got := answer(200, "")
		got.Body = invoke.NewBody(io.NopCloser(io.MultiReader(strings.NewReader("half"), broken{})), nil)
		return got, nil
	}}
	c, out, said := console(t)
	if status := invoked(t, c, a, "todo-api", "t"); status != 76 {
		t.Errorf("status %d, want 76", status)
	}
	if out.String() != "half" || !strings.Contains(said.String(), "pillion: error: the answer of todo-api broke off after 4 bytes\n") {
		t.Errorf("stdout %q, stderr %q", out, said)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestTheChartOfTimes(t *testing.T) {
	t.Parallel()
	theme := ui.NewTheme(new(bytes.Buffer), func(string) string { return "" })
	theme.TTY, theme.Unicode, theme.Width = true, true, 80
	steps := []step{
		{"resolve", 20 * time.Microsecond, "this machine"},
		{"connect", 310 * time.Microsecond, "127.0.0.1:41233"},
		{"TLS", 1100 * time.Microsecond, "notification-service"},
		{"app", 4700 * time.Microsecond, "200"},
		{"body", 50 * time.Microsecond, "37 bytes"},
	}
	want := `resolve   0.02ms  ━                                         this machine
connect   0.31ms  ━━                                        127.0.0.1:41233
TLS       1.10ms    ━━━━━━━                                 notification-service
app       4.70ms           ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   200
body      0.05ms                                         ━  37 bytes
total     6.18ms
`
	if got := drawChart(theme, steps, 6180*time.Microsecond); got != want {
		t.Errorf("the chart is\n%swant\n%s", got, want)
	}
	theme.Width = 40
	for row := range strings.Lines(drawChart(theme, steps, 6180*time.Microsecond)) {
		if ui.Cells(strings.TrimSuffix(row, "\n")) > 40 {
			t.Errorf("at 40 columns the row %q is too wide", row)
		}
	}
}

func TestInvokeWarnsOnceThatAnOldProcessAnswered(t *testing.T) {
	t.Parallel()
	c, out, said := console(t)
	stale := staleApp()
	stale.ID = "9wd1x2c8"
	other := staleApp() // another instance, that did not answer
	running(t, c, stale, other)
	if status := invoked(t, c, fixed(200, "hello\n"), "todo-api", "t"); status != 0 || out.String() != "hello\n" {
		t.Errorf("status %d, stdout %q", status, out)
	}
	want := "pillion: warning: todo-api is STALE since " + ui.Stamp(stale.StaleSince) + ": an old process answered\n" +
		"pillion: cause: the build failed: main.go:12:2: undefined: x\npillion: hint: pillion logs todo-api\n"
	if said.String() != want {
		t.Errorf("said %q, want %q", said, want)
	}
	said.Reset()
	if status := invoked(t, c, fixed(500, ""), "todo-api", "t"); status != 5 || strings.Count(said.String(), "STALE") != 1 {
		t.Errorf("status %d, said %q", status, said)
	}
	said.Reset()
	a := &answers{with: func(*invoke.Call) (*invoke.Answer, error) {
		got := answer(200, "")
		got.Instance = "elsewher"
		return got, nil
	}}
	if status := invoked(t, c, a, "todo-api", "t"); status != 0 || said.Len() > 0 {
		t.Errorf("an instance of another machine: status %d, said %q", status, said)
	}
}
