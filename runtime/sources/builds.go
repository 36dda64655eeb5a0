package sources

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/runtime/filewatch"
)

// maxCuts is how many builds in a row are cut off.
const maxCuts = 5

// builds tells the products of a build from what a person writes while it runs.
//
// What only programs write, and what goes, is a product. Else it is told as
// changed, since a person may have written it; the build that is made because of
// nothing else shows: what it writes once more is its product. What has ever
// changed beside a build is a source.
//
// What is most likely a person's is told while the build runs, so that it is cut
// off: a source, and what was there before and the last build has not written.
// The latter is a guess, and never cuts off two builds in a row. If one after
// the other is cut off, the build may write that itself: the others run to their
// end, until one does without anything to be told.
type builds struct {
	running bool
	closing bool                        // it is about to end: what is told now would come too late
	changed map[string]filewatch.Change // during this build
	edited  bool                        // something has changed beside builds, since the last one
	doubted map[string]bool             // what the last build may have written
	sources map[string]bool
	product map[string]bool

	cut     bool // this build is cut off
	cuts    int  // builds in a row
	guess   bool // it is cut off by a guess
	guessed bool // the last one was
	whole   bool // some build has run to its end
}

func (b *builds) begin() {
	b.running, b.closing, b.cut, b.guess = true, false, false, false
	b.changed = map[string]filewatch.Change{}
}

// during notes what has changed while a build runs.
func (b *builds) during(changes []filewatch.Change) {
	for _, c := range changes {
		if first, again := b.changed[c.Path]; again {
			c.Before = first.Before
		}
		b.changed[c.Path] = c
	}
}

// cutOff has the build cut off by those of the changed files that a person has
// most likely written, and returns them.
func (b *builds) cutOff(changes []filewatch.Change, path func(name string) string) []string {
	if b.closing || b.cuts >= maxCuts {
		return nil
	}
	var out []string
	for _, c := range changes {
		name := c.Path
		sure := b.sources[name]
		guess := b.whole && !b.guessed && b.changed[name].Before.There && !b.doubted[name]
		if b.product[name] || !sure && !guess || !isPersons(path(name)) {
			continue
		}
		b.guess = b.guess || !sure
		delete(b.changed, name) // it is told
		out = append(out, name)
	}
	if len(out) > 0 && !b.cut {
		b.cut = true
		b.cuts++
	}
	return out
}

// beside notes what has changed while none does.
func (b *builds) beside(changes []filewatch.Change, path func(name string) string) {
	if b.sources == nil || len(b.sources) > maxFiles {
		b.sources = map[string]bool{}
	}
	for _, c := range changes {
		b.edited = true
		if b.product[c.Path] && !isPersons(path(c.Path)) {
			continue
		}
		b.sources[c.Path] = true
		delete(b.product, c.Path)
	}
}

// end returns what changed during the build and may be a person's doing.
func (b *builds) end(path func(name string) string) []filewatch.Change {
	if b.product == nil || len(b.product) > maxFiles {
		b.product = map[string]bool{}
	}
	var out []filewatch.Change
	doubted := map[string]bool{}
	for name, c := range b.changed {
		switch {
		case b.product[name]:
		case b.sources[name] && (isPersons(path(name)) || !isThere(path(name))):
			out = append(out, c)
		case !isPersons(path(name)):
			b.product[name] = true
		case b.doubted[name] && !b.edited:
			b.product[name] = true
		default:
			doubted[name] = true
			out = append(out, c)
		}
	}
	if b.cut {
		maps.Copy(doubted, b.doubted) // it did not come to write all of it
	}
	b.whole = b.whole || !b.cut
	b.running, b.edited, b.changed, b.doubted, b.guessed = false, b.cut, nil, doubted, b.guess
	return out
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// pictured are the endings of what is no text and yet made by people.
var pictured = []string{
	".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".bmp", ".ico", ".icns", ".tif", ".tiff", ".psd", ".xcf", ".pdf",
	".woff", ".woff2", ".ttf", ".otf", ".eot", ".mp3", ".wav", ".ogg", ".flac", ".m4a", ".mp4", ".webm", ".mov",
	".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".glb", ".blend",
}

// isPersons reports whether a file is there and of a kind that people write:
// text, as git tells it, without a zero byte, which every program has; text of
// two bytes a letter; pictures, sounds, fonts and documents.
func isPersons(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	if slices.Contains(pictured, strings.ToLower(filepath.Ext(path))) {
		return true
	}
	text, err := readAtMost(path, 8000)
	return err != nil || strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") || !strings.Contains(text, "\x00")
}
