//go:build unix

package sidecar_test

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/sidecar"
)

func text(port uint16) string { return strconv.Itoa(int(port)) }

// remove removes folders that the sidecar may be writing into meanwhile.
func (r *run) remove(paths ...string) {
	r.t.Helper()
	limit, again := time.After(patience), time.NewTicker(5*time.Millisecond)
	defer again.Stop()
	for _, path := range paths {
		for err := os.RemoveAll(path); err != nil; err = os.RemoveAll(path) {
			select {
			case <-again.C:
			case <-limit:
				r.t.Fatal(err)
			}
		}
	}
}

func TestTheReadyLineSaysPortsAndIdentity(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start(actServe, config.Sidecar{AppID: "todo-api", Namespace: "shop"})
	e := p.ready(r, "todo-api")
	n, _ := r.notice("todo-api is ready")
	line := n.String()
	for _, want := range []string{
		"app " + text(e.AppPort), "http " + text(e.HTTPPort), "grpc " + text(e.GRPCPort),
		"spiffe://public/ns/shop/todo-api", "found by local",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("the line is %q, without %q", line, want)
		}
	}
	if n.Kind != sidecar.Good {
		t.Errorf("its kind is %v", n.Kind)
	}
}

func TestTheLastLineSaysHowItEnded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act  string
		exit int
		says string
		kind sidecar.NoticeKind
	}{
		"by itself":     {actEnviron, 0, "exit 0", sidecar.Info},
		"with a status": {actFail, 3, "exit 3", sidecar.Failed},
		"of a signal":   {actDie, 137, "exit 137 (SIGKILL)", sidecar.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newPlace(t).start(c.act, config.Sidecar{})
			if exit := r.end(); exit != c.exit {
				t.Errorf("exit %d, want %d", exit, c.exit)
			}
			n, _ := r.notice("app ended")
			if n.Kind != c.kind || !strings.Contains(n.String(), c.says) {
				t.Errorf("it says %q of kind %v, want %q of kind %v", n, n.Kind, c.says, c.kind)
			}
			if _, ok := r.notice("stopping"); ok {
				t.Error("it says that it stops an app that has ended")
			}
		})
	}
}

func TestThatTheGuardWasKilledIsSaidInOneSentence(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start(actServe, config.Sidecar{})
	p.ready(r, "app")
	r.awaitOutput("guard ")
	_, rest, _ := strings.Cut(r.output(), "guard ")
	line, _, _ := strings.Cut(rest, "\n")
	guard, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(guard, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := r.end(); exit == 0 {
		t.Error("exit 0")
	}
	n, _ := r.notice("guard")
	if n.Kind != sidecar.Warning || n.Text != "the guard of the app was killed, and the app with it" {
		t.Errorf("it says %q", n)
	}
}

func TestTwoProgramsOfOneName(t *testing.T) {
	t.Parallel()
	const warning = "two different programs are called app"
	for name, c := range map[string]struct {
		second config.Sidecar
		elsewhere,
		warned, refused bool
	}{
		"the same program":                  {},
		"another command":                   {second: config.Sidecar{Command: []string{"-x"}}, warned: true},
		"another folder":                    {elsewhere: true, warned: true},
		"another folder, a name nobody set": {second: config.Sidecar{Derived: true}, elsewhere: true, refused: true},
		"the same folder, derived":          {second: config.Sidecar{Derived: true}},
		"another namespace":                 {second: config.Sidecar{Namespace: "copy", Derived: true}, elsewhere: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.ready(p.start(actServe, config.Sidecar{}), "app")
			if c.elsewhere {
				c.second.Dir = t.TempDir()
			}
			r := p.start(actServe, c.second)
			if c.refused {
				var e *apperr.Error
				if err := r.failed(); !errors.As(err, &e) || e.Reason != apperr.Usage || !strings.Contains(e.What, "app is already run from ") {
					t.Errorf("Run = %v, want a refusal that names the other folder", err)
				}
				return
			}
			r.awaitNotice("is ready")
			n, warned := r.notice(warning)
			if warned != c.warned {
				t.Errorf("warned: %v, want %v: %v", warned, c.warned, r.notices())
			}
			if c.elsewhere && warned && !strings.Contains(n.Cause, c.second.Dir) {
				t.Errorf("the cause is %q, without the folder %s", n.Cause, c.second.Dir)
			}
		})
	}
}
