package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWatchBuildAndRestartComeFromAllPlaces(t *testing.T) {
	t.Parallel()
	type told struct {
		Watch   []string
		Build   string
		Restart RestartPolicy
	}
	file := parse(t, "watch: [src, ~/shared]\nbuild: make\nrestart: always\n")
	env := environment(map[string]string{"PILLION_WATCH": "true", "PILLION_BUILD": "go build", "PILLION_RESTART": "on-failure", "HOME": "/home/ada"})
	home := environment(map[string]string{"HOME": "/home/ada"})
	for name, c := range map[string]struct {
		given  Given
		getenv func(string) string
		file   File
		want   told
	}{
		"nowhere":   {nil, home, File{}, told{}},
		"flags":     {Given{"watch": {"a, b", "c"}, "build": {" x "}, "restart": {"no"}}, env, file, told{[]string{"a", "b", "c"}, "x", RestartNo}},
		"off":       {Given{"watch": {"false"}, "build": {""}, "restart": {"false"}}, env, file, told{nil, "", RestartNo}},
		"env":       {nil, env, file, told{[]string{"."}, "go build", RestartOnFailure}},
		"file":      {nil, home, file, told{[]string{"src", "/home/ada/shared"}, "make", RestartAlways}},
		"file bool": {nil, home, parse(t, "watch: true\nrestart: no\n"), told{[]string{"."}, "", RestartNo}},
	} {
		got, err := Resolve(c.given, c.getenv, c.file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, told{got.Watch, got.Build, got.Restart}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestASidecarAloneIsToldNothingAboutACommand(t *testing.T) {
	t.Parallel()
	env := environment(map[string]string{"PILLION_WATCH": ".", "PILLION_BUILD": "make", "PILLION_RESTART": "sometimes"})
	alone, err := Resolve(Given{"app-id": {"x"}}, env, parse(t, "watch: nowhere\n"))
	if err != nil {
		t.Fatal(err)
	}
	alone.SetCommand(nil, Given{"app-id": {"x"}})
	daprd, err := ResolveSidecar(Given{"app-id": {"x"}}, env, File{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Sidecar{alone, daprd} {
		if len(c.Watch) > 0 || c.Build != "" || c.Restart != "" {
			t.Errorf("what was said of all apps counts without a command: %q, %q, %q", c.Watch, c.Build, c.Restart)
		}
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestMistakesAboutRestartingAreToldTogether(t *testing.T) {
	t.Parallel()
	given := Given{"app-id": {"x"}, "watch": {".,srcc,lib/*.go"}, "build": {"make"}, "restart": {"on_failure"}}
	c, err := Resolve(given, environment(nil), File{})
	if err != nil {
		t.Fatal(err)
	}
	c.Dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(c.Dir, "src"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.SetCommand(nil, given)
	err = c.Validate()
	for _, want := range []string{
		"--watch is about a command, and there is none", "--build is about a command", "--restart is about a command",
		`--restart: "on_failure" is not one of no, on-failure, always`, "did you mean on-failure?",
		`--watch: "srcc" cannot be read (` + filepath.Join(c.Dir, "srcc") + ": no such file or directory; did you mean src?)",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if n := len(split(err)); n != 5 {
		t.Errorf("%d mistakes, want 5:\n%v", n, err)
	}
	if want := []string{c.Dir, filepath.Join(c.Dir, "srcc"), filepath.Join(c.Dir, "lib", "*.go")}; !slices.Equal(c.WatchPaths(), want) {
		t.Errorf("WatchPaths = %q, want %q", c.WatchPaths(), want)
	}
}

func TestARunFileSaysWhatIsWatchedBuiltAndRestarted(t *testing.T) {
	t.Parallel()
	s, dir, err := stackIn(t, `version: 1
common: {watch: true, restart: on-failure}
apps:
- {appDirPath: a, command: [x]}
- {appDirPath: b, command: [x], watch: [src, ~/a], build: "make all", restart: no}
- {appDirPath: c, command: [x], watch: false}
- {appDirPath: d, appPort: 1}
`, "a/", "b/src/", "c/", "d/")
	if err != nil || len(s.Warnings) > 0 {
		t.Fatal(err, s.Warnings)
	}
	for i, want := range []struct {
		watch   []string
		build   string
		restart RestartPolicy
	}{
		{[]string{filepath.Join(dir, "a")}, "", RestartOnFailure},
		{[]string{filepath.Join(dir, "b", "src"), filepath.Join(dir, "a")}, "make all", RestartNo},
		{[]string{}, "", RestartOnFailure},
		{[]string{}, "", ""}, // it runs no command
	} {
		app := s.Apps[i]
		if !slices.Equal(app.WatchPaths(), want.watch) || app.Build != want.build || app.Restart != want.restart {
			t.Errorf("app %d: %q, %q, %q, want %q, %q, %q", i, app.WatchPaths(), app.Build, app.Restart, want.watch, want.build, want.restart)
		}
	}
}

func TestMistakesAboutRestartingAreToldAtTheirPlaceInARunFile(t *testing.T) {
	t.Parallel()
	_, dir, err := stackIn(t, `version: 1
apps:
- appDirPath: .
  command: [x]
  watch: [srcc]
  build: [make]
  restart: allways
- {appDirPath: ., appID: y, restart: always}
`)
	var got []string
	for _, e := range split(err) {
		got = append(got, strings.TrimPrefix(e.Error(), dir+"/dapr.yaml"))
	}
	want := []string{
		`:5:10: watch: "srcc" cannot be read (` + dir + `/srcc: no such file or directory)`,
		`:6:10: build: a single value is expected`,
		`:7:12: restart: "allways" is not one of no, on-failure, always`,
		`:8:38: restart is about a command, and there is none`,
	}
	if len(got) != len(want) {
		t.Fatalf("got %q,\nwant %q", got, want)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("got %q,\nwant %q", got[i], want[i])
		}
	}
}
