package main

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestStatIsReadWhateverTheName(t *testing.T) {
	t.Parallel()
	text := "4242 (a (b) c d) S 17 4242 4242 0 -1 4194560 1 0 0 0 321 79 5 6 20 0 9 0 100 1 2\n"
	got, err := parseStat([]byte(text))
	if want := (stat{pid: 4242, parent: 17, cpu: 4 * time.Second}); err != nil || got != want {
		t.Errorf("parseStat = %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) S 1", "x (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14"} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("parseStat(%q) = %+v, want an error", bad, got)
		}
	}
}

func TestRollupIsRead(t *testing.T) {
	t.Parallel()
	got := parseRollup([]byte("00400000-7fff Rss [rollup]\nRss:      2048 kB\nPss: 7 kB\nPrivate_Clean:   512 kB\nPrivate_Dirty:  256 kB\nSwap: x kB\n"))
	if want := (memory{Resident: 2 << 20, Private: 768 << 10}); got != want {
		t.Errorf("parseRollup = %+v, want %+v", got, want)
	}
}

// A child that runs another program is not the proxy's own.
func TestFamiliesAreToldApartByTheirProgram(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Log("there is no /proc here")
		return
	}
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = child.Wait()
	})
	f, err := familyOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(f.own, os.Getpid()) || !slices.Contains(f.others, child.Process.Pid) {
		t.Errorf("familyOf = %+v, want %d in own and %d in others", f, os.Getpid(), child.Process.Pid)
	}
	if m := memoryOf(f.own); m.Resident <= 0 || m.Private > m.Resident {
		t.Errorf("memoryOf = %+v, want more resident than private", m)
	}
}
