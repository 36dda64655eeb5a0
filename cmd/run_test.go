package cmd

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/sidecar"
)

// ran runs `pillion run` with a function in the place of the sidecar, and
// returns what that was given and the exit status.
func ran(t *testing.T, c *ui.Console, run runFunc, args ...string) (config.Sidecar, int) {
	t.Helper()
	var got config.Sidecar
	cmd := newRunCmd(c, func(ctx context.Context, cfg config.Sidecar, env sidecar.Env) (int, error) {
		got = cfg
		return run(ctx, cfg, env)
	})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetFlagErrorFunc(flagError)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return got, c.Report(withStatus(cmd, err))
}

func succeed(context.Context, config.Sidecar, sidecar.Env) (int, error) { return 0, nil }

func TestRunFlagsBecomeTheSidecarsConfiguration(t *testing.T) {
	t.Parallel()
	c, _, _ := console(t, "DAPR_API_TOKEN", "secret")
	got, status := ran(t, c, succeed,
		"--app-id", "todo-api", "-p", "8000", "-P", "h2c", "-H", "3501", "-G=50009",
		"--peer", "a=10.0.0.1:5", "--peer", "10.0.0.2:5", "--lan", "--namespace", "shop", "--grace", "2s",
		"--app-max-concurrency", "3", "--allowed-origins", "https://a,https://b", "--enable-api-logging",
		"python3", "app.py", "--port", "3")
	if status != 0 {
		t.Fatalf("status %d", status)
	}
	want := config.Sidecar{
		AppID: "todo-api", Namespace: "shop", NamespaceGiven: true, AppPort: 8000, AppProtocol: "h2c", AppMaxConcurrency: 3,
		HTTPPort: 3501, GRPCPort: 50009, LAN: true, Peers: []string{"a=10.0.0.1:5", "10.0.0.2:5"},
		Grace: 2 * time.Second, ResolveTimeout: config.DefaultResolveTimeout, Hold: config.DefaultHold,
		StartHold: config.DefaultStartHold, AllowedOrigins: []string{"https://a", "https://b"},
		APILogging: true, LogLevel: "info", APIToken: "secret",
		// Flags end at the first word that is not one.
		Command: []string{"python3", "app.py", "--port", "3"}, Dir: got.Dir,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the sidecar is told (-want +got):\n%s", diff)
	}
}

func TestRunDerivesTheAppIDAndSaysSo(t *testing.T) {
	t.Parallel()
	c, _, said := console(t)
	got, _ := ran(t, c, succeed, "--", "true")
	if got.AppID != "cmd" || !got.Derived {
		t.Errorf("app ID %q, derived %v; want this folder's name", got.AppID, got.Derived)
	}
	if want := "pillion: app ID is cmd, from the folder's name (--app-id to change)\n"; said.String() != want {
		t.Errorf("said %q, want %q", said, want)
	}
}

func TestFlagsOfDaprWithoutMeaningAreTakenWithOneLine(t *testing.T) {
	t.Parallel()
	c, _, said := console(t)
	_, status := ran(t, c, succeed, "-a", "x", "--runtime-path", "/opt", "--log-as-json", "--", "true")
	if status != 0 {
		t.Errorf("status %d", status)
	}
	want := "pillion: --log-as-json, --runtime-path have no effect here\n"
	if said.String() != want {
		t.Errorf("said %q, want %q", said, want)
	}
}

func TestRunsExitStatusIsTheAppsOrPillionsOwn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		exit int
		err  error
		want int
	}{
		"the app's":      {7, nil, 7},
		"of a signal":    {143, nil, 143},
		"the app's 2":    {2, nil, 2},
		"not found":      {0, &apperr.Error{Reason: apperr.CommandNotFound, What: `no command "x"`}, 127},
		"not executable": {0, &apperr.Error{Reason: apperr.NotExecutable, What: "x"}, 126},
		"a taken port":   {0, &apperr.Error{Reason: apperr.PortTaken, What: "x"}, 125},
		"a damaged CA":   {0, &apperr.Error{Reason: apperr.OwnConfig, What: "x"}, 125},
		"our bug":        {0, errors.New("x"), 125},
		"early Ctrl-C":   {0, context.Canceled, 130},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			con, _, _ := console(t)
			_, got := ran(t, con, func(context.Context, config.Sidecar, sidecar.Env) (int, error) { return c.exit, c.err },
				"-a", "x", "--", "true")
			if got != c.want {
				t.Errorf("exit status %d, want %d", got, c.want)
			}
		})
	}
}

func TestRunShowsTheSidecarsNoticesOnStderr(t *testing.T) {
	t.Parallel()
	c, out, said := console(t)
	_, _ = ran(t, c, func(_ context.Context, _ config.Sidecar, env sidecar.Env) (int, error) {
		env.Say(sidecar.Notice{
			Kind: sidecar.Good, Text: "todo-api is ready",
			Facts: []string{"app 8000", "http 3500", "spiffe://public/ns/default/todo-api"},
		})
		_, _ = env.Out.Write([]byte("bytes of the app\x00"))
		env.Say(sidecar.Notice{
			Kind: sidecar.Warning, Text: "todo-api listens on 8080, not 8000",
			Cause: "it opened 127.0.0.1:8080", Hint: "give --app-port 8080",
		})
		return 0, nil
	}, "-a", "todo-api", "--", "true")
	want := `pillion: todo-api is ready, app 8000, http 3500, spiffe://public/ns/default/todo-api
pillion: warning: todo-api listens on 8080, not 8000
pillion: cause: it opened 127.0.0.1:8080
pillion: hint: give --app-port 8080
`
	if said.String() != want {
		t.Errorf("stderr is\n%swant\n%s", said, want)
	}
	if out.String() != "bytes of the app\x00" {
		t.Errorf("stdout is %q", out)
	}
}

func TestRunWithoutACommandNeedsANameOrAPort(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]int{"": 125, "--lan": 125, "--app-id x": 0, "--app-port 8000": 0} {
		c, _, _ := console(t)
		if _, got := ran(t, c, succeed, strings.Fields(args)...); got != want {
			t.Errorf("pillion run %s: status %d, want %d", args, got, want)
		}
	}
}

func TestRunTakesWhatRestartsTheApp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args  []string
		watch []string
	}{
		{[]string{"--watch"}, []string{"."}},
		{[]string{"--watch=.,testdata"}, []string{".", "testdata"}},
		{[]string{"--watch=testdata", "--watch=script"}, nil},
		{[]string{"--watch=false"}, nil},
	} {
		c, _, said := console(t)
		got, status := ran(t, c, succeed, append(test.args, "--build", "make", "--restart", "on-failure", "--", "true")...)
		if test.args[0] == "--watch=testdata" { // script lies elsewhere
			if status != 125 || !strings.Contains(said.String(), `--watch: "script" cannot be read`) {
				t.Errorf("%q: status %d, said %q", test.args, status, said)
			}
			continue
		}
		if status != 0 || !slices.Equal(got.Watch, test.watch) || got.Build != "make" || got.Restart != config.RestartOnFailure {
			t.Errorf("%q: status %d, watch %q, build %q, restart %q", test.args, status, got.Watch, got.Build, got.Restart)
		}
	}
}

func TestTheValueOfWatchIsNotTakenForTheCommand(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--watch", "src", "--", "true"}, {"--watch", "testdata", "true"}} {
		c, _, said := console(t)
		_, status := ran(t, c, succeed, args...)
		if want := "did you mean --watch=" + args[1] + "?"; status != 125 || !strings.Contains(said.String(), want) {
			t.Errorf("%q: status %d, said %q", args, status, said)
		}
	}
	c, _, _ := console(t)
	want := []string{"go", "--", "run", "--", "x"}
	if got, status := ran(t, c, succeed, append([]string{"--watch"}, want...)...); status != 0 || !slices.Equal(got.Command, want) {
		t.Errorf("status %d, command %q", status, got.Command)
	}
}
