package cmd

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/instance"
)

// again is another console on c's home.
func again(t *testing.T, c *ui.Console) (*ui.Console, func() string) {
	t.Helper()
	con, out, said := console(t, "HOME", c.Getenv("HOME"), "PILLION_RUNTIME_DIR", c.Getenv("PILLION_RUNTIME_DIR"))
	return con, func() string { return out.String() + said.String() }
}

func quickly(context.Context, rundir.Entry, func(string)) (instance.Restarted, error) {
	return instance.Restarted{Took: 400 * time.Millisecond, Restarts: 2}, nil
}

func TestRestartTakesAppsInstancesOrAll(t *testing.T) {
	t.Parallel()
	c, _, _ := console(t)
	alone := rundir.Entry{App: "debugged", State: "ready", Since: time.Now()}
	live := running(t, c, append(twoApps(), twoApps()[0], alone)...)
	for name, o := range map[string]struct {
		selection
		want, left int
	}{
		"an app with two instances": {selection{appIDs: []string{"todo-api"}}, 2, 0},
		"one instance":              {selection{appIDs: []string{"todo-api/" + live[0].ID}}, 1, 0},
		"named twice":               {selection{appIDs: []string{"notify", "notify"}}, 1, 0},
		"all":                       {selection{all: true}, 3, 1},
	} {
		con, said := again(t, c)
		err := runRestart(t.Context(), con, quickly, restartOptions{selection: o.selection})
		if n := strings.Count(said(), "\trestarted\t0.4s\t"); err != nil || n != o.want {
			t.Errorf("%s: %v, restarted %d, want %d\n%s", name, err, n, o.want, said())
		}
		if n := strings.Count(said(), "debugged\tleft as it is\t\t"); n != o.left {
			t.Errorf("%s: left %d, want %d\n%s", name, n, o.left, said())
		}
	}
}

func TestRestartRefusesAWrongNameBeforeItRestartsAnything(t *testing.T) {
	t.Parallel()
	c, _, _ := console(t)
	running(t, c, append(twoApps(), rundir.Entry{App: "debugged", State: "ready", Since: time.Now()})...)
	never := func(context.Context, rundir.Entry, func(string)) (instance.Restarted, error) {
		t.Error("something was restarted")
		return instance.Restarted{}, nil
	}
	for _, test := range []struct {
		names []string
		want  apperr.Reason
		says  string
	}{
		{[]string{"todo-api", "notfy"}, apperr.NoSuchApp, "did you mean notify? pillion restart notify"},
		{[]string{"todo-api", "debugged"}, apperr.Usage, "debugged's app is not run by pillion"},
		{nil, apperr.Usage, "restart takes app ids"},
	} {
		err := runRestart(t.Context(), c, never, restartOptions{selection: selection{appIDs: test.names}})
		if !apperr.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q: %v, want %s, %q", test.names, err, test.want, test.says)
		}
	}
}

// Of one app only one instance is away at a time; different apps do not wait
// for each other.
func TestInstancesOfOneAppAreRestartedOneAfterTheOther(t *testing.T) {
	t.Parallel()
	c, _, _ := console(t)
	running(t, c, append(twoApps(), twoApps()...)...)
	both := make(chan struct{})
	var mu sync.Mutex
	at, begun := map[string]int{}, 0
	err := runRestart(t.Context(), c, func(_ context.Context, e rundir.Entry, _ func(string)) (instance.Restarted, error) {
		mu.Lock()
		at[e.App]++
		if at[e.App] > 1 {
			t.Errorf("two instances of %s are restarted at the same time", e.App)
		}
		if begun++; begun == 2 {
			close(both)
		}
		mu.Unlock()
		within.Receive(t, both) // the other app's first has begun, too
		mu.Lock()
		at[e.App]--
		mu.Unlock()
		return instance.Restarted{}, nil
	}, restartOptions{selection: selection{all: true}})
	if err != nil || begun != 4 {
		t.Errorf("%v, %d restarted, want 4", err, begun)
	}
}

// A new version that does not start replaces one instance and not all.
func TestAnInstanceThatFailsKeepsTheOthersOfItsAppAsTheyAre(t *testing.T) {
	t.Parallel()
	c, out, said := console(t)
	running(t, c, append(twoApps(), twoApps()[0])...)
	var tried []string
	var mu sync.Mutex
	err := runRestart(t.Context(), c, func(_ context.Context, e rundir.Entry, _ func(string)) (instance.Restarted, error) {
		mu.Lock()
		defer mu.Unlock()
		tried = append(tried, e.App)
		if e.App == "todo-api" {
			return instance.Restarted{}, &apperr.Error{Reason: apperr.AppUnreachable, What: "todo-api was not built", Cause: "exit 2"}
		}
		return instance.Restarted{Took: time.Second, Restarts: 1}, nil
	}, restartOptions{selection: selection{all: true}})
	if status := c.Report(err); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	slices.Sort(tried)
	if !slices.Equal(tried, []string{"notify", "todo-api"}) {
		t.Errorf("tried %q", tried)
	}
	for _, want := range []string{"notify\trestarted\t1.0s\t", "todo-api\tnot restarted\t\t", "todo-api\tleft as it is\t\t"} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("stdout lacks %q:\n%s", want, out)
		}
	}
	if strings.Count(said.String(), "pillion: error: todo-api was not built") != 1 {
		t.Errorf("stderr is\n%s", said)
	}
}

func TestRestartAsJSON(t *testing.T) {
	t.Parallel()
	c, out, _ := console(t)
	running(t, c, twoApps()[0])
	if err := runRestart(t.Context(), c, quickly, restartOptions{selection: selection{all: true}, output: "json"}); err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal(out.Bytes(), &rows); err != nil || len(rows) != 1 {
		t.Fatal(err, out)
	}
	if r := rows[0]; r["appId"] != "todo-api" || r["result"] != "restarted" || r["tookMs"] != 400.0 || r["restarts"] != 2.0 || r["error"] != nil {
		t.Errorf("got %v", r)
	}
	none, said := again(t, c)
	if err := runRestart(t.Context(), none, quickly, restartOptions{selection: selection{all: true, namespace: "shop"}, output: "json"}); err != nil || !strings.HasPrefix(said(), "[]\n") {
		t.Errorf("nothing to restart: %v, %q", err, said())
	}
}

// What has begun goes on, and is not called a failure.
func TestCtrlCEndsTheWaitForARestart(t *testing.T) {
	t.Parallel()
	c, out, _ := console(t)
	running(t, c, twoApps()[0], twoApps()[0])
	ctx, cancel := context.WithCancel(t.Context())
	err := runRestart(ctx, c, func(ctx context.Context, _ rundir.Entry, _ func(string)) (instance.Restarted, error) {
		cancel()
		<-ctx.Done()
		return instance.Restarted{}, context.Cause(ctx)
	}, restartOptions{selection: selection{all: true}})
	if status := c.Report(withStatus(newRestartCmd(c), err)); status != 130 {
		t.Errorf("status %d, want 130", status)
	}
	if strings.Count(out.String(), "todo-api\trestarting\t\t") != 1 || strings.Count(out.String(), "todo-api\tleft as it is\t\t") != 1 {
		t.Errorf("stdout is\n%s", out)
	}
}
