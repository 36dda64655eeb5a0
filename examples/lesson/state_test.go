package lesson_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pillion-dev/pillion/internal/porttest"
)

// A task that was saved is there when the service has been started anew: in
// the store that is always there, and in a Redis that a Component file puts in
// its place.
func TestTasksOutliveTheService(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(w *world) (flags []string){
		"SQLite": func(*world) []string { return nil },
		"Redis":  redisStore,
	} {
		for _, l := range []language{inGo, inPython} {
			t.Run(name+" and "+string(l), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				s := service{app: todo, in: l, flags: append([]string{"--app-port", "auto"}, store(w)...)}
				r := w.begin(s)
				r.await(todo + " is ready")
				made := w.task("tasks", "-d", `{"title":"Buy groceries"}`)
				w.end(r)

				w.run(s)
				if got := w.task("tasks/"+made.ID, "-X", "GET"); got != made {
					t.Errorf("after a restart: %+v, made was %+v", got, made)
				}
				if done := w.task("tasks/" + made.ID + "/complete"); done.Status != "completed" {
					t.Errorf("completed %+v", done)
				}
				if got := w.task("tasks/"+made.ID, "-X", "GET"); got.Status != "completed" {
					t.Errorf("the task is %+v", got)
				}
			})
		}
	}
}

// redisStore starts a Redis server and says where it is.
func redisStore(w *world) (flags []string) {
	w.t.Helper()
	server, err := exec.LookPath("redis-server")
	if err != nil {
		w.t.Fatal("the state store on Redis needs Debian's redis-server (scripts/test --install): ", err)
	}
	port, err := porttest.Take()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(port.Release)
	c := exec.Command(server, "--port", port.String(), "--bind", "127.0.0.1", "--save", "", "--dir", w.dir)
	r := start(w.t, c)
	r.app = "redis-server"
	w.t.Cleanup(func() { w.end(r) })
	r.await("Ready to accept connections")
	folder := filepath.Join(w.dir, "resources")
	component := fmt.Sprintf(`apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: statestore
spec:
  type: state.redis
  version: v1
  metadata:
    - name: redisHost
      value: 127.0.0.1:%s
`, port)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "statestore.yaml"), []byte(component), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return []string{"--resources-path", folder}
}
