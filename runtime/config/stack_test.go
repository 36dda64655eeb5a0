package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// stackIn writes a run file and folders beside it, and loads it.
func stackIn(t *testing.T, text string, files ...string) (Stack, string, error) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range files {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			path = filepath.Join(path, ".keep")
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "dapr.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := LoadStack(StackSource{
		Path: dir,
		Getenv: func(name string) string {
			if name == "HOME" {
				return dir
			}
			return ""
		},
	})
	return s, dir, err
}

func TestARunFileOfDaprsIsReadAsItIs(t *testing.T) {
	t.Parallel()
	s, dir, err := stackIn(t, `version: 1
name: shop
common:
  resourcesPath: ./everybody
  env:
    DEBUG: true
    REGION: north
  appProtocol: h2c
  daprdLogDestination: console
apps:
  - appID: todo-api
    appDirPath: ./todo/
    appPort: 8000
    daprHTTPPort: 3500
    command: ["python3", "app.py", 7]
    env:
      REGION: south
      EMPTY:
    appLogDestination: file
    enableApiLogging: true
    appMaxConcurrency: 4
  - appDirPath: ./mail
    resourcesPaths: ["./own", "~/own"]
    configFilePath: ../cfg.yaml
    appProtocol: http
    placementHostAddress: ""
    metricsPort: 9999
    command:
    - ./run.sh
    - --fast
`, "todo/", "mail/own/", "own/", "everybody/", "cfg.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "shop" || s.ID() != "shop" || s.Path != filepath.Join(dir, "dapr.yaml") || len(s.Warnings) > 0 || len(s.Apps) != 2 {
		t.Errorf("got %+v", s)
	}
	todo, mail := s.Apps[0], s.Apps[1]
	if todo.AppID != "todo-api" || todo.AppPort != 8000 || todo.HTTPPort != 3500 || todo.AppProtocol != "h2c" ||
		!todo.APILogging || todo.AppMaxConcurrency != 4 || todo.Derived || todo.Dir != filepath.Join(dir, "todo") ||
		todo.AppLog.ToConsole() || !todo.AppLog.ToFile() || todo.SidecarLog != LogToConsole || todo.RunName != "shop" {
		t.Errorf("todo-api is %+v", todo)
	}
	if want := []string{"python3", "app.py", "7"}; !slices.Equal(todo.Command, want) {
		t.Errorf("command %q, want %q", todo.Command, want)
	}
	if want := []string{"DEBUG=true", "EMPTY=", "REGION=south"}; !slices.Equal(todo.Environ, want) {
		t.Errorf("environment %q, want %q", todo.Environ, want)
	}
	if want := []string{filepath.Join(dir, "everybody")}; !slices.Equal(todo.ResourcesPaths, want) {
		t.Errorf("resources %q, want common's %q", todo.ResourcesPaths, want)
	}
	if mail.AppID != "mail" || !mail.Derived || mail.AppProtocol != "http" || !slices.Equal(mail.ConfigFiles, []string{filepath.Join(dir, "cfg.yaml")}) {
		t.Errorf("mail is %+v", mail)
	}
	if want := []string{filepath.Join(dir, "mail", "own"), filepath.Join(dir, "own")}; !slices.Equal(mail.ResourcesPaths, want) {
		t.Errorf("resources %q, want %q", mail.ResourcesPaths, want)
	}
	if !mail.AppLog.ToConsole() || mail.AppLog.ToFile() {
		t.Error("an app log nobody sent anywhere goes to the console alone")
	}
}

func TestWhatLiesInAnAppsFolderBeatsCommonAndLosesToItsOwn(t *testing.T) {
	t.Parallel()
	s, dir, err := stackIn(t, `version: 1
common:
  resourcesPaths: [everybody]
  configFilePath: common.yaml
apps:
- {appDirPath: a, appPort: 1}
- {appDirPath: b, appPort: 2}
- {appDirPath: a, appID: c, appPort: 3, resourcesPath: ../own, configFilePath: ../own.yaml}
`, "a/.dapr/resources/", "a/.dapr/config.yaml", "b/", "everybody/", "common.yaml", "own/", "own.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ resources, config string }{
		{"a/.dapr/resources", "a/.dapr/config.yaml"},
		{"everybody", "common.yaml"},
		{"own", "own.yaml"},
	} {
		app := s.Apps[i]
		if got := []string{filepath.Join(dir, want.resources)}; !slices.Equal(app.ResourcesPaths, got) ||
			!slices.Equal(app.ConfigFiles, []string{filepath.Join(dir, want.config)}) {
			t.Errorf("app %d has %q and %q, want %q and %q", i, app.ResourcesPaths, app.ConfigFiles, want.resources, want.config)
		}
	}
}

func TestAnchorsAndMergesAreFollowed(t *testing.T) {
	t.Parallel()
	s, _, err := stackIn(t, `version: 1
x-base: &base
  appDirPath: .
  env: {A: "1", B: !!str 2}
  command: [sleep, "9"]
apps:
- <<: *base
  appID: one
- <<: [*base]
  appID: two
  env: {A: "3"}
`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Apps[0].Environ, []string{"A=1", "B=2"}; !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
	if got, want := s.Apps[1].Environ, []string{"A=3"}; !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0].What, "x-base") {
		t.Errorf("warnings %v", s.Warnings)
	}
}

func TestUnknownKeysAreToldAndPassedOver(t *testing.T) {
	t.Parallel()
	s, dir, err := stackIn(t, `version: 1
nmae: shop
common: {appPort: 1, logLevle: debug}
apps:
- appDirPath: .
  appId: todo-api
  containerImage: x:1
  placementHostAddress: localhost
`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range s.Warnings {
		got = append(got, strings.TrimPrefix(w.What, dir+"/dapr.yaml:")+" - "+w.Hint)
	}
	want := []string{
		`2:1: unknown key "nmae" is passed over - did you mean name?`,
		`3:10: unknown key "appPort" is passed over - appPort is said of each app, below apps`,
		`3:22: unknown key "logLevle" is passed over - did you mean logLevel?`,
		`6:3: unknown key "appId" is passed over - did you mean appID?`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if want := []string{"containerImage", "placementHostAddress"}; !slices.Equal(s.NoEffect, want) {
		t.Errorf("without effect %q, want %q", s.NoEffect, want)
	}
}

func TestEveryMistakeInARunFileIsReportedAtItsPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"nothing":      {"", []string{" says nothing"}},
		"no version":   {"apps: [{appDirPath: .}]", []string{":1:1: version is missing"}},
		"version zero": {"version: 0\napps: [{appDirPath: .}]", []string{`:1:10: version: "0" is not a version`}},
		"no apps":      {"version: 1", []string{":1:1: apps is missing: there is nothing to run"}},
		"empty apps":   {"version: 1\napps: []", []string{":2:7: apps is empty: there is nothing to run"}},
		"a list":       {"- version", []string{":1:1: keys and values are expected here"}},
		"no list":      {"version: 1\napps: {appDirPath: .}", []string{":2:8: apps: a list of apps is expected"}},
		"no folder":    {"version: 1\napps:\n- appID: a", []string{":3:3: appDirPath is missing: an app needs a folder"}},
		"no YAML":      {"version: [1", []string{":1:10: sequence end token ']' not found"}},
		"forms": {
			"version: 1\napps:\n- appDirPath: .\n  command: echo hi\n  env: [a]\n  appPort: {a: b}\n",
			[]string{
				":4:12: command: a list of words is expected", ":5:8: env: names and values are expected here",
				":6:13: appPort: a single value is expected",
			},
		},
		"values": {
			"version: 1\napps:\n- appDirPath: .\n  appID: a b\n  appPort: 99999\n  appProtocol: htpp\n  logLevel: loud\n  appLogDestination: disk\n",
			[]string{
				`:4:10: appID: `, `:5:12: appPort: "99999" is not a port`, `:6:16: appProtocol: "htpp" is not one of`,
				`:7:13: logLevel: "loud" is not one of`, `:8:22: appLogDestination: "disk" is not file`,
			},
		},
		"folders": {
			"version: 1\napps:\n- {appDirPath: nowhere}\n- {appDirPath: dapr.yaml}\n- {appDirPath: ., resourcesPath: none}\n",
			[]string{":3:16: appDirPath: ", ":4:16: appDirPath: ", ":5:34: resourcesPath: "},
		},
		"the same port twice in one app": {
			"version: 1\napps:\n- appDirPath: .\n  appPort: 8000\n  daprHTTPPort: 8000\n",
			[]string{":4:12: appPort and daprHTTPPort are both 8000"},
		},
		"the same port in two apps": {
			"version: 1\napps:\n- {appDirPath: ., appID: a, appPort: 8000, command: [x]}\n- {appDirPath: ., appID: b, daprGRPCPort: 8000}\n",
			[]string{":4:43: appPort of a and daprGRPCPort of b are both 8000"},
		},
		"two programs of one name": {
			"version: 1\napps:\n- {appDirPath: ., appID: a, command: [x]}\n- {appDirPath: ., appID: a, command: [y]}\n",
			[]string{":4:26: appID a is another program's, too, of line 3"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, dir, err := stackIn(t, c.text)
			var got []string
			for _, e := range split(err) {
				var ours *apperr.Error
				if !errors.As(e, &ours) {
					t.Fatalf("%v is no error of ours", e)
				}
				got = append(got, strings.TrimPrefix(ours.What, dir+"/dapr.yaml"))
			}
			if len(got) != len(c.want) {
				t.Fatalf("got %q,\nwant %q", got, c.want)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("got %q,\nwant %q", got[i], want)
				}
			}
		})
	}
}

func TestTwoInstancesOfOneProgramMayBeInOneFile(t *testing.T) {
	t.Parallel()
	_, _, err := stackIn(t, "version: 1\napps:\n- {appDirPath: ., appID: a, command: [x]}\n- {appDirPath: ., appID: a, command: [x]}\n")
	if err != nil {
		t.Error(err)
	}
}

func TestARunFileComesFromAFileAFolderOrStandardInput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const text = "version: 1\napps: [{appDirPath: .}]\n"
	for _, name := range []string{"shop.yml", "shop.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	none := func(string) string { return "" }
	s, err := LoadStack(StackSource{Path: filepath.Join(dir, "shop.yml"), Getenv: none})
	if err != nil || s.ID() != "shop" {
		t.Errorf("a file: %v, %v", s, err)
	}
	s, err = LoadStack(StackSource{Path: "-", In: strings.NewReader(text), Getenv: none})
	if err != nil || s.Path != "" || s.Title != "standard input" || len(s.Apps) != 1 {
		t.Errorf("standard input: %v, %v", s, err)
	}
	if _, err = LoadStack(StackSource{Path: dir, Getenv: none}); err == nil || !strings.Contains(err.Error(), "dapr.yaml cannot be read") {
		t.Errorf("a folder without one: %v", err)
	}
	if _, err = LoadStack(StackSource{Path: filepath.Join(dir, "shop.txt"), Getenv: none}); err == nil || !strings.Contains(err.Error(), "no run file") {
		t.Errorf("a file of another kind: %v", err)
	}
}
