package sources

import (
	"os"
	"strings"
)

// builds tells the products of a build from what a person writes while it runs.
//
// What is not text, and what goes, is a product. Text is told as changed, since
// a person may have written it; the build that is made because of nothing else
// shows: what it writes once more is its product. What has ever changed beside
// a build is a source.
type builds struct {
	running bool
	changed map[string]bool // during this build
	edited  bool            // something has changed beside builds, since the last one
	doubted map[string]bool // text that the last build may have written
	sources map[string]bool
	product map[string]bool
}

func (b *builds) begin() {
	b.running = true
	b.changed = map[string]bool{}
}

// during notes what has changed while a build runs.
func (b *builds) during(names []string) {
	for _, name := range names {
		b.changed[name] = true
	}
}

// beside notes what has changed while none does.
func (b *builds) beside(names []string) {
	if b.sources == nil || len(b.sources) > maxFiles {
		b.sources = map[string]bool{}
	}
	for _, name := range names {
		b.edited = true
		if !b.product[name] {
			b.sources[name] = true
		}
	}
}

// end returns what changed during the build and may be a person's doing.
func (b *builds) end(path func(name string) string) []string {
	if b.product == nil || len(b.product) > maxFiles {
		b.product = map[string]bool{}
	}
	var out []string
	doubted := map[string]bool{}
	for name := range b.changed {
		switch {
		case b.product[name]:
		case b.sources[name] && (isText(path(name)) || !isThere(path(name))):
			out = append(out, name)
		case !isText(path(name)):
			b.product[name] = true
		case b.doubted[name] && !b.edited:
			b.product[name] = true
		default:
			doubted[name] = true
			out = append(out, name)
		}
	}
	b.running, b.edited, b.changed, b.doubted = false, false, nil, doubted
	return out
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// isText reports whether a file is there and is text, as git tells: without a
// zero byte, which every program has.
func isText(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && !strings.Contains(readAtMost(path, 8000), "\x00")
}
