//go:build unix

package failtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/pilliontest"
)

// A fleet is the instances of one app, orders, and what calls it.
type fleet struct {
	t         *testing.T
	w         *pilliontest.World
	flags     []string // of each instance
	instances []*instance
	begun     int
	deaths    []span
}

// An instance is an app with its sidecar.
type instance struct {
	*pilliontest.Sidecar
	t    *testing.T
	name string
}

func newFleet(t *testing.T, n int, flags ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, w: pilliontest.New(t, binary), flags: flags}
	for range n {
		f.instances = append(f.instances, f.begin())
	}
	for _, i := range f.instances {
		i.ready()
	}
	return f
}

func (f *fleet) record() string { return filepath.Join(f.w.Dir, "record") }

func (f *fleet) gate() string { return filepath.Join(f.w.Dir, "gate") }

// begin starts one more instance, and does not wait for it.
func (f *fleet) begin() *instance {
	f.t.Helper()
	f.begun++
	name := fmt.Sprint("n", f.begun)
	w := f.w.With(roleEnv+"=app", nameEnv+"="+name, recordEnv+"="+f.record(), gateEnv+"="+f.gate())
	args := slices.Concat([]string{"run", "--app-id", "orders", "--app-port", "auto"}, patient, f.flags, []string{"--", os.Args[0]})
	return &instance{w.Begin("orders", args...), f.t, name}
}

// callers are the doors of so many sidecars that call.
func (f *fleet) callers(n int) (doors []string) {
	f.t.Helper()
	for range n {
		doors = append(doors, f.caller().HTTP)
	}
	return doors
}

// patient are the flags of a sidecar that waits for an app as long as one may
// take to start, or to answer its last calls, on a machine that has too much to
// do.
var patient = []string{"--hold", "1m", "--grace", "1m"}

// caller is a sidecar that calls.
func (f *fleet) caller(flags ...string) *pilliontest.Sidecar {
	f.t.Helper()
	return f.w.Run("web", slices.Concat(patient, flags)...)
}

func (i *instance) ready() {
	i.t.Helper()
	i.Await(i.t, "pillion: orders is ready")
}

// app is the process of the app that listens now.
func (i *instance) app() int {
	i.t.Helper()
	said := i.Said()
	_, rest, _ := strings.Cut(said[max(0, strings.LastIndex(said, listens)):], listens)
	text, _, _ := strings.Cut(rest, "\n")
	pid, err := strconv.Atoi(text)
	if err != nil {
		i.t.Fatalf("%s has not said its process: %s", i.name, said)
	}
	return pid
}

// A blow ends an instance the bad way: what it kills.
type blow struct{ app, pillion bool }

// kill strikes an instance and waits until what it struck is dead. A sidecar
// takes its app with it, and an app that is not restarted its sidecar; where
// both are struck neither has the time to.
func (f *fleet) kill(victim *instance, b blow) {
	f.t.Helper()
	died := span{from: time.Now()}
	var pids []int
	if b.app {
		pids = append(pids, victim.app())
	}
	if b.pillion {
		pids = append(pids, victim.PID())
		f.send(syscall.SIGSTOP, victim.PID()) // or it may see its app die, and be gone before its turn
	}
	f.send(syscall.SIGKILL, pids...)
	for _, pid := range pids {
		pilliontest.Until(f.t, "it is dead", func() bool { return syscall.Kill(pid, 0) != nil })
	}
	died.to = time.Now()
	f.deaths = append(f.deaths, died)
}

func (f *fleet) send(signal syscall.Signal, pids ...int) {
	f.t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, signal); err != nil {
			f.t.Fatalf("%v to %d: %v", signal, pid, err)
		}
	}
}
