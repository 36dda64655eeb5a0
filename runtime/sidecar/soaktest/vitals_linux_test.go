package soaktest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// vitals are what a process has taken.
type vitals struct {
	goroutines, descriptors, threads int
	resident, peak, heap             int // KiB
}

func (v vitals) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d threads, %.1f MiB resident (%.1f at most), %.1f MiB live",
		v.goroutines, v.descriptors, v.threads, float64(v.resident)/1024, float64(v.peak)/1024, float64(v.heap)/1024)
}

var (
	profilePort     = regexp.MustCompile(`profiles are at http://([^/]+)/`)
	goroutineTotal  = regexp.MustCompile(`^goroutine profile: total (\d+)`)
	heapAlloc       = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)`)
	statusThreads   = regexp.MustCompile(`(?m)^Threads:\s+(\d+)`)
	statusResident  = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB`)
	statusResidence = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB`)
)

// profile is one of the process's profiles as text.
func (p *process) profile(t *testing.T, name string) string {
	t.Helper()
	at := profilePort.FindStringSubmatch(p.said())
	if at == nil {
		t.Fatalf("%s does not say where its profiles are:\n%s", p.id, p.said())
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+at[1]+"/debug/pprof/"+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true // so that each look finds the same connections
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }() // read to its end
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("%s of %s: %d %s, %v", name, p.id, answer.StatusCode, text, err)
	}
	return string(text)
}

// look is what the process has taken once its garbage is collected.
func (p *process) look(t *testing.T) vitals {
	t.Helper()
	heap := p.profile(t, "heap?debug=1&gc=1")
	dir := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid))
	said, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		t.Fatal(err)
	}
	descriptors, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return vitals{
		goroutines:  number(t, goroutineTotal, p.profile(t, "goroutine?debug=1")),
		descriptors: len(descriptors),
		threads:     number(t, statusThreads, string(said)),
		resident:    number(t, statusResident, string(said)),
		peak:        number(t, statusResidence, string(said)),
		heap:        number(t, heapAlloc, heap) / 1024,
	}
}

func number(t *testing.T, what *regexp.Regexp, text string) int {
	t.Helper()
	found := what.FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %v in %.300q", what, text)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What may be left of a load, beside its own level.
const (
	moreThreads  = 8        // Go keeps the threads it once needed
	moreResident = 20 << 10 // KiB
	moreHeap     = 2 << 10  // KiB
	still        = 5        // looks without change: the process is at rest
	lookEvery    = 50 * time.Millisecond
)

// rest waits until the process is at rest, and is what it has then.
func (p *process) rest(t *testing.T) vitals {
	t.Helper()
	last := p.look(t)
	for same, deadline := 0, time.Now().Add(patience); same < still; same++ {
		time.Sleep(lookEvery)
		v := p.look(t)
		if v.goroutines != last.goroutines || v.descriptors != last.descriptors {
			same = 0
		}
		if last = v; time.Now().After(deadline) {
			t.Fatalf("%s does not come to rest: %v", p.id, v)
		}
	}
	return last
}

// returns waits until the process has no more than before.
func (p *process) returns(t *testing.T, before vitals) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(lookEvery) {
		v := p.look(t)
		excess := v.goroutines > before.goroutines || v.descriptors > before.descriptors ||
			v.threads > before.threads+moreThreads || v.heap > before.heap+moreHeap ||
			v.resident > before.resident+moreResident && !raced(p)
		if !excess {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s has %v; before the load it had %v\n%s", p.id, v, before, p.profile(t, "goroutine?debug=1"))
			return
		}
	}
}

// raced reports whether a process has the race detector in it, which keeps
// memory of its own.
func raced(p *process) bool { return filepath.Base(p.m.pillion) == raceName }
