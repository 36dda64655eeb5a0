package filewatch_test

import (
	"path/filepath"
	"testing"

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
	before := asked.Load()
	for range 10 {
		write(t, filepath.Join(dir, "a"), "1")
		within.Receive(t, told)
	}
	if n := asked.Load() - before; n > 200 {
		t.Errorf("asked %d times for 10 changes", n)
	}
}
