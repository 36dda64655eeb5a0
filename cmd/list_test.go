package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/tls/ca"
)

// running registers instances in c's home, as sidecars do.
func running(t *testing.T, c *ui.Console, entries ...rundir.Entry) []rundir.Entry {
	t.Helper()
	home, err := config.FindHome(c.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	authority, _, err := ca.Ensure(t.Context(), home.Certs(), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := rundir.Open(rundir.Base(c.Getenv), authority.Fingerprint())
	if err != nil {
		t.Fatal(err)
	}
	var out []rundir.Entry
	for _, e := range entries {
		e.Home, e.TrustDomain = home.Path, "public"
		if e.Namespace == "" {
			e.Namespace = "default"
		}
		r, err := dir.Register(e)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		out = append(out, r.Entry())
	}
	return out
}

func twoApps() []rundir.Entry {
	since := time.Now().Add(-12 * time.Minute)
	return []rundir.Entry{
		{App: "todo-api", State: "ready", AppPort: 8000, HTTPPort: 3500, GRPCPort: 50001, MetricsPort: 9090, PID: 4131, Since: since, Command: []string{"go", "run", "."}, Folder: "/src/todo"},
		{App: "notify", State: "starting", HTTPPort: 3501, GRPCPort: 50002, PID: 4240, Since: since, Command: []string{"sh", "-c", "a\tb"}, Folder: "/src/notify", Discovery: []string{"local", "mdns"}},
	}
}

// staleApp is the first of twoApps, whose newest source was not built.
func staleApp() rundir.Entry {
	e := twoApps()[0]
	e.Restarts, e.Stale, e.StaleSince = 3, "the build failed: main.go:12:2: undefined: x", time.Now().Add(-time.Minute)
	return e
}

func TestListInAPipeHasItsColumnsInOrder(t *testing.T) {
	t.Parallel()
	c, out, _ := console(t)
	stale := staleApp()
	live := running(t, c, stale, twoApps()[1])
	if err := runList(c, listOptions{}); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"notify", "default", live[1].ID, "starting", "", "3501", "50002", "4240", ui.Stamp(live[1].Since), `sh -c 'a\tb'`, "/src/notify", "", "local,mdns", "0", "", "",
	}, "\t") + "\n" + strings.Join([]string{
		"todo-api", "default", live[0].ID, "ready", "8000", "3500", "50001", "4131", ui.Stamp(live[0].Since), "go run .", "/src/todo", "", "", "3", "the build failed: main.go:12:2: undefined: x", ui.Stamp(stale.StaleSince),
	}, "\t") + "\n"
	if out.String() != want {
		t.Errorf("list printed\n%swant\n%s", out, want)
	}
}

func TestListAsDataHasDaprsKeysAndOurs(t *testing.T) {
	t.Parallel()
	c, out, _ := console(t)
	running(t, c, staleApp(), twoApps()[1])
	if err := runList(c, listOptions{output: "json"}); err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal(out.Bytes(), &rows); err != nil {
		t.Fatal(err)
	}
	for key := range strings.FieldsSeq("appId httpPort grpcPort appPort metricsEnabled command age created daprdPid cliPid " +
		"appPid maxRequestBodySize httpReadBufferSize runTemplatePath appLogPath daprdLogPath runTemplateName " +
		"metricsPort instance status namespace trustDomain identity folder home since uptimeMs restarts stale staleSince") {
		if _, ok := rows[0][key]; !ok {
			t.Errorf("the key %s is missing", key)
		}
	}
	if rows[0]["restarts"] != 0.0 || rows[0]["stale"] != nil || rows[0]["staleSince"] != nil || rows[1]["restarts"] != 3.0 ||
		rows[1]["stale"] != "the build failed: main.go:12:2: undefined: x" || rows[1]["staleSince"] == nil || rows[1]["status"] != "ready" {
		t.Errorf("rows are %v", rows)
	}
	if rows[0]["appId"] != "notify" || rows[0]["appPort"] != nil || rows[1]["appPort"] != 8000.0 ||
		rows[0]["metricsEnabled"] != false || rows[1]["metricsEnabled"] != true || rows[1]["metricsPort"] != 9090.0 {
		t.Errorf("rows are %v", rows)
	}
}

func TestListAsYAMLSaysTheSame(t *testing.T) {
	t.Parallel()
	c, out, _ := console(t)
	running(t, c, twoApps()...)
	if err := runList(c, listOptions{output: "yaml"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"- appId: notify\n", "  appPort: null\n", "  appPort: 8000\n", "  status: ready\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the YAML lacks %q:\n%s", want, out)
		}
	}
}

func TestListShowsOnlyTheOwnTrustDomainUnlessAsked(t *testing.T) {
	t.Parallel()
	c, out, _ := console(t)
	running(t, c, twoApps()[0])
	// Another home of the same user, in the same runtime folder.
	other, _, _ := console(t, "PILLION_RUNTIME_DIR", c.Getenv("PILLION_RUNTIME_DIR"))
	running(t, other, rundir.Entry{App: "stranger", State: "ready", Since: time.Now()})
	if err := runList(c, listOptions{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "stranger") {
		t.Errorf("list shows another trust domain:\n%s", out)
	}
	out.Reset()
	if err := runList(c, listOptions{allHomes: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "stranger") || !strings.Contains(out.String(), "todo-api") {
		t.Errorf("list --all-homes shows\n%s", out)
	}
}

// A home can be removed under an app that runs: it must still be found, and
// stopped.
func TestListShowsWhatRunsAlthoughItsHomeWasRemoved(t *testing.T) {
	t.Parallel()
	c, out, _ := console(t)
	home, err := config.FindHome(c.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	running(t, c, twoApps()[0])
	other, _, _ := console(t, "PILLION_RUNTIME_DIR", c.Getenv("PILLION_RUNTIME_DIR"))
	running(t, other, rundir.Entry{App: "stranger", State: "ready", Since: time.Now()})
	if err := os.RemoveAll(home.Path); err != nil {
		t.Fatal(err)
	}
	if err := runList(c, listOptions{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "todo-api") || strings.Contains(out.String(), "stranger") {
		t.Errorf("list shows\n%s", out)
	}
}

func TestListTableNamesTheNamespaceWhereThereAreTwo(t *testing.T) {
	t.Parallel()
	entries := twoApps()
	heads := func() string {
		var out []string
		for _, c := range listTable(entries, time.Now(), "").Columns {
			out = append(out, c.Head)
		}
		return strings.Join(out, " ")
	}
	if got := heads(); strings.Contains(got, "NAMESPACE") {
		t.Errorf("with one namespace the columns are %s", got)
	}
	entries[1].Namespace = "shop"
	if got := heads(); !strings.HasPrefix(got, "APP NAMESPACE STATUS") {
		t.Errorf("with two namespaces the columns are %s", got)
	}
}

func TestStopTakesAppsInstancesOrAll(t *testing.T) {
	t.Parallel()
	c, _, _ := console(t)
	entries := append(twoApps(), twoApps()[0])
	live := running(t, c, entries...)
	for name, o := range map[string]struct {
		o    stopOptions
		want int
	}{
		"an app with two instances": {stopOptions{selection: selection{appIDs: []string{"todo-api"}}}, 2},
		"one instance":              {stopOptions{selection: selection{appIDs: []string{"todo-api/" + live[0].ID}}}, 1},
		"named twice":               {stopOptions{selection: selection{appIDs: []string{"notify", "notify"}}}, 1},
		"all":                       {stopOptions{selection: selection{all: true}}, 3},
	} {
		con, out, said := console(t, "HOME", c.Getenv("HOME"), "PILLION_RUNTIME_DIR", c.Getenv("PILLION_RUNTIME_DIR"))
		err := runStop(t.Context(), con, func(context.Context, rundir.Entry, bool, func(string)) (ended, error) {
			return ended{took: 300 * time.Millisecond}, nil
		}, o.o)
		if n := strings.Count(out.String(), "\tstopped\tTERM\t0.3s\t"); err != nil || n != o.want {
			t.Errorf("%s: %v, stopped %d, want %d\n%s%s", name, err, n, o.want, out, said)
		}
	}
}

func TestStopRefusesAWrongNameBeforeItStopsAnything(t *testing.T) {
	t.Parallel()
	c, _, _ := console(t)
	running(t, c, twoApps()...)
	err := runStop(t.Context(), c, func(context.Context, rundir.Entry, bool, func(string)) (ended, error) {
		t.Error("something was stopped")
		return ended{}, nil
	}, stopOptions{selection: selection{appIDs: []string{"todo-api", "notfy"}}})
	e := apperr.From(err)
	if e.Reason != apperr.NoSuchApp || !strings.Contains(e.Hint, "did you mean notify?") {
		t.Errorf("runStop = %v", err)
	}
}

func TestStopFailsIfSomethingWouldNot(t *testing.T) {
	t.Parallel()
	c, out, said := console(t)
	running(t, c, twoApps()...)
	err := runStop(t.Context(), c, func(_ context.Context, e rundir.Entry, _ bool, _ func(string)) (ended, error) {
		if e.App == "notify" {
			return ended{}, &apperr.Error{Reason: apperr.Internal, What: "notify does not answer", Err: errors.New("x")}
		}
		return ended{took: 10400 * time.Millisecond, killed: []string{"python3 (4391)"}}, nil
	}, stopOptions{selection: selection{all: true}})
	if status := c.Report(err); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	if !strings.Contains(out.String(), "todo-api\tkilled\tKILL\t10.4s\t") || !strings.Contains(out.String(), "notify\tnot stopped\t\t") {
		t.Errorf("stdout is\n%s", out)
	}
	if !strings.Contains(said.String(), "pillion: error: notify does not answer") {
		t.Errorf("stderr is\n%s", said)
	}
}

func TestCompletionsDescribeLiveApps(t *testing.T) {
	t.Parallel()
	c, _, _ := console(t)
	running(t, c, twoApps()...)
	got, _ := completeApps(c)(nil, nil, "")
	if want := "notify\tstarting|todo-api\tready · 8000"; strings.Join(got, "|") != want {
		t.Errorf("completions are %q, want %q", got, want)
	}
	if got, _ := completeApps(c)(nil, []string{"todo-api"}, ""); len(got) != 1 {
		t.Errorf("an app already given is completed again: %q", got)
	}
}

func TestUninstallRefusesWhileAppsRun(t *testing.T) {
	t.Parallel()
	c, _, _ := console(t)
	running(t, c, twoApps()[0])
	err := runUninstall(t.Context(), c, true)
	if err == nil || !strings.Contains(err.Error(), "todo-api") || !strings.Contains(err.Error(), "pillion stop --all") {
		t.Errorf("runUninstall = %v", err)
	}
}

// asTerminal dresses Out as a terminal of that width.
func asTerminal(c *ui.Console, width int) {
	c.Out.TTY, c.Out.Unicode, c.Out.Width = true, true, width
}

func TestListSaysWhatIsStaleAndWhy(t *testing.T) {
	t.Parallel()
	c, out, _ := console(t)
	asTerminal(c, 80)
	stale := staleApp()
	stale.StaleSince = time.Now() // of today
	stale.Stale = "the build failed: exit 1: handlers/tasks/create.go:112:24: undefined: notification"
	live := running(t, c, stale, twoApps()[1])
	if err := runList(c, listOptions{}); err != nil {
		t.Fatal(err)
	}
	want := "APP       STATUS         PORT   UP  RESTARTS  HTTP  INSTANCE  COMMAND\n" +
		"notify    starting          –  12m         0  3501  " + live[1].ID + "  sh -c 'a\\tb'\n" +
		"todo-api  ready · STALE  8000  12m         3  3500  " + live[0].ID + "  go run .\n" +
		"\n" +
		"! todo-api is STALE since " + stale.StaleSince.Local().Format("15:04") + ": the build failed: exit 1:\n" +
		"  handlers/tasks/create.go:112:24: undefined: notification\n"
	if out.String() != want {
		t.Errorf("list printed\n%swant\n%s", out, want)
	}
	for _, width := range []int{20, 40, 160} {
		out.Reset()
		asTerminal(c, width)
		if err := runList(c, listOptions{}); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "STALE"); n != 2 {
			t.Errorf("at %d columns STALE is said %d times:\n%s", width, n, out)
		}
		for row := range strings.Lines(out.String()) {
			if n := ui.Cells(strings.TrimSuffix(row, "\n")); n > width && strings.Contains(strings.TrimSpace(row), " ") {
				t.Errorf("the row %q has %d columns of %d", row, n, width)
			}
		}
	}
}

func TestListCountsRestartsWhereThereWereSome(t *testing.T) {
	t.Parallel()
	c, out, _ := console(t)
	asTerminal(c, 120)
	running(t, c, twoApps()...)
	if err := runList(c, listOptions{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "RESTARTS") || strings.Contains(out.String(), "STALE") {
		t.Errorf("list printed\n%s", out)
	}
}
