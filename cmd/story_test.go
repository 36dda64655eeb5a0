package cmd

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/instance"
	"github.com/pillion-dev/pillion/tls/ca"
)

// mdnsAlone is set in the environment of the second telling of stories.
const mdnsAlone = "PILLION_STORIES_MDNS_ALONE"

// mdnsOnly makes mDNS the only source of a home, in which the stories' apps
// have answered before: such an app is waited for, and asked for more than once,
// where one that nobody knows has 30 ms to answer.
func mdnsOnly(home string) error {
	dir := filepath.Join(home, ".pillion")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(dir, "config.yaml"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString("discovery: [mdns]\n")
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	seen, err := discovery.OpenSeen(config.Home{Path: dir}.Seen())
	if err != nil {
		return err
	}
	for _, app := range []string{"orders", "web", "mail", "todo-api", "notify-service"} {
		seen.Note(discovery.Key{Namespace: "default", App: app})
	}
	seen.Note(discovery.Key{Namespace: "private", App: "shop"})
	return seen.Flush()
}

// storyCommands are what scripts can say beside testscript's own words.
func storyCommands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"freeport":     freePort,
		"waitready":    waitReady,
		"waitgone":     waitGone,
		"waitline":     waitLine,
		"waitstate":    waitState,
		"waitstale":    waitStale,
		"waitrestarts": waitRestarts,
		"waitcount":    waitCount,
		"waitcalls":    waitCalls,
		"waitfree":     waitFree,
		"waitheld":     waitHeld,
		"waitdead":     waitDead,
		"signal":       signalApp,
		"status":       wantStatus,
		"authority":    makeAuthority,
		"door":         doorOf,
		"instance":     instanceOf,
		"answers":      awaitAnswer,
		"inorder":      inOrderIn,
		"refuses":      refuses,
		"waitanew":     waitAnew,
		"fill":         fillIn,
	}
}

// fillIn puts variables into files, for each @NAME@ its value: fill dapr.yaml.
func fillIn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: fill FILE...")
	}
	blank := regexp.MustCompile(`@([A-Z]+)@`)
	for _, name := range args {
		data, err := os.ReadFile(ts.MkAbs(name))
		ts.Check(err)
		filled := blank.ReplaceAllStringFunc(string(data), func(s string) string { return ts.Getenv(strings.Trim(s, "@")) })
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(filled), 0o600))
	}
}

// wantStatus runs a command that must end with an exit status: status 70
// pillion invoke nobody x. Its output can be looked at as after exec.
func wantStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s ended with status %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// waitState waits until an instance of an app is in a state: waitstate x starting.
func waitState(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitstate APP STATE")
	}
	await(ts, args[0]+" is "+args[1], func() bool {
		for _, e := range liveIn(ts) {
			if e.App == args[0] && e.State == args[1] {
				return true
			}
		}
		return false
	})
}

// waitCount waits until so many instances of an app are ready: waitcount x 3.
func waitCount(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitcount APP N")
	}
	await(ts, args[1]+" instances of "+args[0]+" are ready", func() bool {
		n := 0
		for _, e := range liveIn(ts) {
			if e.App == args[0] && e.State == "ready" {
				n++
			}
		}
		return strconv.Itoa(n) == args[1]
	})
	awaitKnown(ts, args[0])
}

// waitCalls waits until so many calls are in flight at an app: waitcalls x 1.
func waitCalls(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitcalls APP N")
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	await(ts, args[1]+" calls are in flight at "+args[0], func() bool {
		status, err := instance.Dial(oneOf(ts, args[0])).Status(ctx)
		return err == nil && strconv.Itoa(status.Calls) == args[1]
	})
}

// waitFree waits until nobody holds the ports.
func waitFree(ts *testscript.TestScript, neg bool, args []string) {
	for _, port := range args {
		await(ts, "port "+port+" is free", func() bool {
			ln, err := net.Listen("tcp", "127.0.0.1:"+port)
			if err == nil {
				_ = ln.Close() // only asked whether
			}
			return err == nil
		})
	}
}

// waitHeld waits until somebody listens on the ports.
func waitHeld(ts *testscript.TestScript, neg bool, args []string) {
	for _, port := range args {
		await(ts, "port "+port+" is held", func() bool {
			conn, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err == nil {
				_ = conn.Close() // only asked whether
			}
			return err == nil
		})
	}
}

// waitDead waits until no process has the pair in its environment: waitdead
// TREE=x. Whole trees of processes are told apart by it, whatever their
// session, group or parent.
func waitDead(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitdead NAME=VALUE")
	}
	await(ts, "no process has "+args[0], func() bool { return len(havingEnv(args[0])) == 0 })
}

// doorOf sets a variable to the HTTP port of an app's sidecar: door D todo-api.
func doorOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: door NAME APP")
	}
	ts.Setenv(args[0], strconv.Itoa(int(oneOf(ts, args[1]).HTTPPort)))
}

// instanceOf sets a variable to the id of an app's oldest instance.
func instanceOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: instance NAME APP")
	}
	ts.Setenv(args[0], oneOf(ts, args[1]).ID)
}

// oneOf is an app's oldest instance.
func oneOf(ts *testscript.TestScript, app string) rundir.Entry {
	var found rundir.Entry
	for _, e := range liveIn(ts) {
		if e.App == app && (found.ID == "" || e.Since.Before(found.Since)) {
			found = e
		}
	}
	if found.ID == "" {
		ts.Fatalf("%s does not run", app)
	}
	return found
}

// storyConditions are what scripts can ask for in brackets.
func storyConditions(cond string) (bool, error) {
	switch cond {
	case "root":
		return os.Geteuid() == 0, nil
	case "mdns-alone":
		return os.Getenv(mdnsAlone) != "", nil
	}
	return false, errors.New("unknown condition " + cond)
}

// makeAuthority makes the home's authority as it would have been made at another
// time: authority 1h. The certificates are moved, for the clock is everybody's.
func makeAuthority(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: authority OFFSET")
	}
	offset, err := time.ParseDuration(args[0])
	ts.Check(err)
	home := filepath.Join(ts.Getenv("HOME"), ".pillion")
	ts.Check(os.RemoveAll(home))
	_, _, err = ca.Ensure(context.Background(), filepath.Join(home, "certs"), ca.Options{
		Now: func() time.Time { return time.Now().Add(offset) },
	})
	ts.Check(err)
}

// leaveNothing fails a story that left a process behind. Nothing is waited for
// in a story that failed already.
func leaveNothing(e *testscript.Env, story string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	t, known := e.T().(interface{ Failed() bool })
	failed := known && t.Failed()
	limit := time.After(waitLimit)
	for waiting := !failed; waiting && len(havingEnv(story)) > 0; {
		select {
		case <-tick.C:
		case <-limit:
			waiting = false
		}
	}
	left := havingEnv(story)
	for _, pid := range left {
		if !failed {
			e.T().Log("left behind:", commandOf(pid))
		}
		_ = sendSignal(pid, "KILL")
	}
	if len(left) > 0 {
		e.T().FailNow()
	}
}
