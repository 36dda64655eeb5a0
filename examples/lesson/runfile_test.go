package lesson_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/porttest"
)

// The run files start the lesson's three services, and a command beside them
// makes a task: all of it one command, as a CI job has it. Only the ports are
// others, and what TestMain built is run in place of what `go run` would build.
func TestTheRunFilesStartTheLesson(t *testing.T) {
	t.Parallel()
	for file, l := range map[string]language{"dapr.yaml": inGo, "python/dapr.yaml": inPython} {
		t.Run(string(l), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			changed := w.runFile(file, l)
			out, errs, status := w.pillion("run", "-f", changed, "--",
				program("pillion"), "invoke", "todo-api", "tasks", "-d", `{"title":"Buy groceries"}`)
			if status != 0 || !strings.Contains(out, `"title":"Buy groceries"`) {
				t.Fatalf("exit %d, stdout %q, stderr:\n%s", status, out, errs)
			}
			if logged, _, _ := w.pillion("logs", "notification-service"); !strings.Contains(logged, "Todo created: Buy groceries") {
				t.Errorf("the notification is not in its log:\n%s", logged)
			}
			if left, _, _ := w.pillion("list"); left != "" {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

// runFile is the lesson's run file with ports of its own and what TestMain
// built, as a file of the world.
func (w *world) runFile(file string, l language) string {
	w.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	here, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		w.t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "appDirPath: ", "appDirPath: "+here+"/")
	for service, port := range map[string]string{"todo-api": "8000", "notification-service": "8001", "billing-service": "8002"} {
		free, err := porttest.Take()
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(free.Release)
		text = strings.ReplaceAll(text, port, free.String())
		if l == inGo {
			text = strings.Replace(text, service+"\n    appPort: "+free.String()+"\n    command: [\"go\", \"run\", \".\"]",
				service+"\n    appPort: "+free.String()+"\n    command: ['"+program(service)+"']", 1)
		}
	}
	if l == inPython {
		text = strings.ReplaceAll(text, `"python3"`, `"`+python(w.t)+`"`)
	}
	if strings.Contains(text, `"run"`) {
		w.t.Fatalf("a service would be built:\n%s", text)
	}
	changed := filepath.Join(w.dir, "dapr.yaml")
	if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return changed
}
