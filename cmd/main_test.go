package cmd

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
)

// waitLimit bounds the waits of stories for a condition.
const waitLimit = time.Minute

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pillion":     func() { os.Exit(Main(os.Args[1:], OS())) },
		"daprd":       func() { os.Exit(Main(os.Args[1:], OS())) },
		"dapr":        func() { os.Exit(Main(os.Args[1:], OS())) },
		"echoapp":     func() { os.Exit(echoApp(os.Args[1:])) },
		"actor":       func() { os.Exit(actorMain(os.Args[1:])) },
		"onlymessage": func() { os.Exit(onlyMessage(os.Args[1:])) },
	})
}

// TestScripts are the command line's behaviour as stories, one script each.
// UPDATE=1 refreshes the golden texts.
func TestScripts(t *testing.T) {
	// Under nohup what a story starts would ignore it as we do.
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangUps) })
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Setup:               setUpStory,
		Condition:           storyConditions,
		Cmds:                storyCommands(),
	})
}

// setUpStory gives a story a home and a runtime folder of its own.
func setUpStory(e *testscript.Env) error {
	// Sockets have short paths, and a test's folder does not.
	runtime, err := os.MkdirTemp("", "pillion-story")
	if err != nil {
		return err
	}
	e.Defer(func() { _ = os.RemoveAll(runtime) })
	home := filepath.Join(e.WorkDir, "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	e.Setenv("HOME", home)
	e.Setenv("PILLION_RUNTIME_DIR", runtime)
	e.Setenv("DAPR_HOST_IP", "127.0.0.1") // what a sidecar in daprd's place says of itself stays on this machine
	e.Setenv("NO_COLOR", "1")
	e.Setenv("LANG", "C.UTF-8")
	e.Setenv("GORACE", os.Getenv("GORACE")) // of this binary, which is all that a story runs
	story := "STORY=" + e.WorkDir
	e.Vars = append(e.Vars, story)
	e.Defer(func() { leaveNothing(e, story) })
	if os.Getenv(mdnsAlone) != "" {
		return mdnsOnly(home)
	}
	return nil
}

// freePort sets each variable named to a port nobody has until the story's end.
func freePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: freeport NAME...")
	}
	for _, name := range args {
		port, err := porttest.Take()
		ts.Check(err)
		ts.Defer(port.Release)
		ts.Setenv(name, port.String())
	}
}

// waitReady waits until an instance of each app is ready.
func waitReady(ts *testscript.TestScript, neg bool, args []string) {
	for _, app := range args {
		await(ts, app+" is ready", func() bool {
			for _, e := range liveIn(ts) {
				if e.App == app && e.State == "ready" {
					return true
				}
			}
			return false
		})
		awaitKnown(ts, app)
	}
}

// awaitKnown waits until who calls an app waits for it, where multicast alone
// finds it: the answers to a name that nobody has seen are waited for milliseconds.
func awaitKnown(ts *testscript.TestScript, app string) {
	if os.Getenv(mdnsAlone) == "" {
		return
	}
	home := config.Home{Path: filepath.Join(ts.Getenv("HOME"), ".pillion")}
	await(ts, app+" is known", func() bool {
		data, err := os.ReadFile(home.Seen())
		return err == nil && strings.Contains(string(data), app)
	})
}

// waitGone waits until no instance of any of the apps is left.
func waitGone(ts *testscript.TestScript, neg bool, args []string) {
	for _, app := range args {
		await(ts, app+" is gone", func() bool {
			for _, e := range liveIn(ts) {
				if e.App == app {
					return false
				}
			}
			return true
		})
	}
}

// waitLine waits until a file holds a text.
func waitLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitline FILE TEXT")
	}
	await(ts, args[0]+" holds "+args[1], func() bool {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && strings.Contains(string(data), args[1])
	})
}

// signalApp sends a signal to the pillion of an app's oldest instance: signal INT
// app.
func signalApp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal NAME APP")
	}
	ts.Check(sendSignal(oneOf(ts, args[1]).PID, args[0]))
}

func liveIn(ts *testscript.TestScript) []rundir.Entry {
	base := ts.Getenv("PILLION_RUNTIME_DIR")
	trusts, err := rundir.Trusts(base)
	ts.Check(err)
	var all []rundir.Entry
	for _, trust := range trusts {
		dir, err := rundir.Open(base, trust)
		ts.Check(err)
		entries, err := dir.Entries()
		ts.Check(err)
		all = append(all, entries...)
	}
	return all
}

func await(ts *testscript.TestScript, what string, done func() bool) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(waitLimit)
	for !done() {
		select {
		case <-limit:
			ts.Fatalf("after %v it is not so that %s", waitLimit, what)
		case <-tick.C:
		}
	}
}

var errUsage = errors.New("usage: echoapp PORT")

// portOf is the port an argument or the environment says.
func portOf(args []string) (string, error) {
	if len(args) > 0 {
		if _, err := strconv.Atoi(args[0]); err != nil {
			return "", fmt.Errorf("%w: %w", errUsage, err)
		}
		return args[0], nil
	}
	if port := os.Getenv("PORT"); port != "" {
		return port, nil
	}
	return "", errUsage
}
