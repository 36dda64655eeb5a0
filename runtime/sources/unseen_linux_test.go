package sources_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/usernstest"
	"github.com/pillion-dev/pillion/runtime/filewatch"
	"github.com/pillion-dev/pillion/runtime/sources"
)

// It is tested as somebody whom the modes of files bind.
func TestWhatCannotBeSeenJustNowIsAsItWas(t *testing.T) {
	const somebody = 1000
	if !usernstest.Rerun(t, somebody) {
		return
	}
	dir := t.TempDir()
	write(t, dir, "main.go", "1", "src/api/a.go", "1", "src/b.go", "1", "gen/a.go", "1", ".gitignore", "gen\n")
	src, rules := filepath.Join(dir, "src"), filepath.Join(dir, ".gitignore")
	must(t, os.Chmod(src, 0))
	t.Cleanup(func() { _ = os.Chmod(src, 0o700) })
	if _, err := os.ReadDir(src); err == nil {
		t.Skip("modes bind nobody here")
	}
	must(t, os.Chmod(src, 0o700))
	files := filewatch.NewPolling(nil, 20*time.Millisecond)
	run(t, files)
	w := watch(t, sources.Options{Dir: dir, Files: files})
	for i, mode := range []os.FileMode{0, 0o700, 0o400, 0o700, 0, 0o700} { // 0o400: its names can be read, no more
		must(t, os.Chmod(src, mode))
		write(t, dir, "main.go", strings.Repeat("1", i+2))
		wants(t, w, "main.go")
	}
	// The rules are written anew and cannot be read yet, as when an editor has
	// them locked.
	write(t, dir, ".gitignore~", "gen\nother\n")
	must(t, os.Chmod(rules+"~", 0))
	must(t, os.Rename(rules+"~", rules))
	write(t, dir, "gen/a.go", "12", "main.go", "1")
	wants(t, w, "main.go")
	must(t, os.Chmod(rules, 0o600))
	write(t, dir, "gen/a.go", "123", "other/a.go", "1", "main.go", "12")
	wants(t, w, "main.go")
}
