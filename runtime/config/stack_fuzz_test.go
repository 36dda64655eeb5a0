package config

import (
	"strings"
	"testing"
)

// What is taken from a run file is what a sidecar can be started with, and its
// mistakes have a place in it.
func FuzzLoadStack(f *testing.F) {
	for _, text := range []string{
		"version: 1\napps:\n- {appDirPath: ., appPort: 8000, command: [a, b]}\n",
		"version: 1\ncommon: {env: {A: 1}}\napps:\n- &x {appDirPath: ., appID: a}\n- {<<: *x, appID: b}\n",
		"version: 1\napps: [{appDirPath: ., appPort: -1, appProtocol: grpc, logLevel: WARNING}]",
		"version: 1\na: &a {<<: [*a, *a]}\napps: [*a]\n",
		"version: 1\napps: &l [*l, {appDirPath: !!str .}]\n",
		"version: 1\napps:\n- appDirPath: |\n    .\n  command:\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := LoadStack(StackSource{Path: "-", In: strings.NewReader(text), Getenv: func(string) string { return "" }})
		if err != nil {
			for _, e := range split(err) {
				if !strings.HasPrefix(e.Error(), "standard input:") && !strings.HasPrefix(e.Error(), "standard input says nothing") &&
					!strings.Contains(e.Error(), "cannot be read") {
					t.Errorf("%q: a mistake without a place: %v", text, e)
				}
			}
			return
		}
		for _, app := range s.Apps {
			if err := app.Validate(); err != nil || app.AppID == "" || app.Dir == "" {
				t.Errorf("%q: %+v is taken: %v", text, app, err)
			}
		}
	})
}
