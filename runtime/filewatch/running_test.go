package filewatch_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/filewatch"
)

// What is due to be looked at while it is written is looked at when it is told.
func TestWhileSomethingIsWrittenNobodySpins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := filewatch.New(nil)
	w.NowAndThen()
	run(t, w)
	asked := w.Busy(dir)
	told := make(chan struct{}, 100)
	t.Cleanup(w.Watch(filewatch.Set{Paths: []string{dir}}, func() { told <- struct{}{} }))
	write(t, filepath.Join(dir, "a"), "1")
	within.Receive(t, told)
	before, began := asked.Load(), time.Now()
	for range 10 {
		write(t, filepath.Join(dir, "a"), "1")
		within.Receive(t, told)
	}
	// Some of it is due ten times a second, however long a busy machine takes.
	if n, took := asked.Load()-before, time.Since(began); n > 200+int64(100*took.Seconds()) {
		t.Errorf("asked %d times for 10 changes in %v", n, took)
	}
}
