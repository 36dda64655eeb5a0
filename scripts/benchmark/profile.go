package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// profileLong is how long a CPU profile is taken.
const profileLong = 8 * time.Second

// profile loads a pair of sidecars and shows where their time and their
// allocations go.
func (b *bench) profile(ctx context.Context) error {
	folder := b.o.out
	if folder == "" {
		var err error
		if folder, err = os.MkdirTemp("", "pillion-profiles-"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(folder, 0o750); err != nil { //nolint:gosec // the folder the person named
		return err
	}
	proto := b.o.protocols[0]
	p, err := b.startPair(ctx, pairSpec{name: namePillion, proto: proto, profile: true})
	if err != nil {
		return err
	}
	for range b.o.instances - 1 {
		if err := b.addSidecar(ctx, p, []string{"--app-id", calleeID, "--app-port", p.appPort}, true); err != nil {
			return err
		}
	}
	s := scenario{Proto: proto, shape: shape{Up: orElse(b.o.bodies, 54)[0]}, Streams: 1}
	for _, s.Connections = range orElse(b.o.connections, 32) {
		if err := b.profileScenario(ctx, p, s, folder); err != nil {
			return err
		}
	}
	say("the profiles are in %s: go tool pprof -http : <file>", folder)
	return nil
}

// profileScenario takes the profiles of both sidecars under one load.
func (b *bench) profileScenario(ctx context.Context, p *pair, s scenario, folder string) error {
	if _, err := b.load(ctx, &p.subject, s, 2*time.Second); err != nil {
		return err
	}
	long := profileLong
	if b.o.quick {
		long = 3 * time.Second
	}
	var loading sync.WaitGroup
	var sent outcome
	var loadErr error
	loading.Go(func() { sent, loadErr = b.load(ctx, &p.subject, s, long+time.Second) })
	errs := make([]error, 2)
	var taking sync.WaitGroup
	sides := []struct{ name, address string }{{"caller", p.callerProfile}, {"callee", p.calleeProfile}}
	file := func(side, kind string) string {
		return filepath.Join(folder, fmt.Sprintf("%s-%s-%d-%s.pb.gz", side, s.Proto, s.Connections, kind))
	}
	for i, side := range sides {
		taking.Go(func() {
			errs[i] = errors.Join(
				fetch(ctx, side.address, "profile?seconds="+strconv.Itoa(int(long.Seconds())), file(side.name, "cpu")),
				fetch(ctx, side.address, "allocs", file(side.name, "allocs")))
		})
	}
	taking.Wait()
	loading.Wait()
	if err := errors.Join(append(errs, loadErr)...); err != nil {
		return err
	}
	fmt.Printf("# %s: %.0f calls/s, p50 %v, p99 %v\n", s, float64(sent.calls)/sent.elapsed.Seconds(), sent.p50, sent.p99)
	for _, side := range sides {
		if err := b.show(ctx, side.name, file(side.name, "cpu"), file(side.name, "allocs")); err != nil {
			return err
		}
	}
	return nil
}

// fetch keeps a profile.
func fetch(ctx context.Context, address, what, file string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/debug/pprof/"+what, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("no profile; this pillion may have no --enable-profiling: %w", err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was read
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("no profile at /debug/pprof/%s: %s", what, answer.Status)
	}
	out, err := os.Create(file) //nolint:gosec // the folder the person named
	if err != nil {
		return err
	}
	_, err = io.Copy(out, answer.Body)
	return errors.Join(err, out.Close())
}

// show prints what a side's profiles say: its time by room, then the functions
// that take most of it, then what allocates.
func (b *bench) show(ctx context.Context, side, cpu, allocs string) error {
	traces, err := pprof(ctx, "-traces", cpu)
	if err != nil {
		return err
	}
	fmt.Printf("\n## %s: CPU by room\n\n%s", side, roomTable(parseTraces(traces)))
	for _, view := range []struct {
		title string
		args  []string
	}{
		{"CPU, functions by themselves", []string{"-top", "-nodecount=25", cpu}},
		{"CPU, functions with what they call", []string{"-top", "-cum", "-nodecount=40", cpu}},
		{"objects allocated since the start", []string{"-top", "-nodecount=25", "-sample_index=alloc_objects", allocs}},
	} {
		text, err := pprof(ctx, view.args...)
		if err != nil {
			return err
		}
		fmt.Printf("\n## %s: %s\n\n```\n%s\n```\n", side, view.title, strings.TrimSpace(text))
	}
	return nil
}

func pprof(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"tool", "pprof"}, args...)...) //nolint:gosec // our own words
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go tool pprof %s: %w\n%s", strings.Join(args, " "), err, said.String())
	}
	return string(out), nil
}

// A trace is one stack of a profile, the leaf first.
type trace struct {
	value time.Duration
	stack []string
}

// parseTraces reads what `go tool pprof -traces` prints: blocks between rules,
// each a value with the leaf and then the callers, a line each.
func parseTraces(text string) []trace {
	var out []trace
	open := false
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "-----------+"):
			out, open = append(out, trace{}), true
		case !open || len(fields) == 0 || strings.HasSuffix(fields[0], ":"): // labels
		case len(out[len(out)-1].stack) == 0:
			value, err := time.ParseDuration(fields[0])
			if err != nil || len(fields) < 2 {
				continue
			}
			out[len(out)-1] = trace{value, []string{fields[1]}}
		default:
			last := &out[len(out)-1]
			last.stack = append(last.stack, fields[0])
		}
	}
	return slices.DeleteFunc(out, func(t trace) bool { return len(t.stack) == 0 })
}
