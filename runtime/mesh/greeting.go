package mesh

import (
	"encoding/binary"
	"fmt"

	"github.com/pillion-dev/pillion/discovery"
)

// magic begins a greeting, so that a peer that speaks something else is told
// from one that speaks another revision.
const magic = "pillion"

// Tags of a greeting's entries. Each entry is a tag and a string; those with
// unknown tags are skipped.
const (
	tagState    = 1
	tagInstance = 2
	tagVersion  = 3
	tagCalls    = 4
)

// A greeting is what each side says first. Its beginning stays the same in all
// revisions. A client's hello has the one revision it chose and no state.
type greeting struct {
	oldest, newest uint64
	state          discovery.State
	instance       string
	version        string
	calls          int // the open calls the server takes on this link
}

func (g greeting) encode() []byte {
	b := []byte(magic)
	b = binary.AppendUvarint(b, g.oldest)
	b = binary.AppendUvarint(b, g.newest)
	for _, e := range [...]struct {
		tag  uint64
		text string
	}{{tagState, string(g.state)}, {tagInstance, g.instance}, {tagVersion, g.version}} {
		if e.text != "" {
			b = appendString(binary.AppendUvarint(b, e.tag), e.text)
		}
	}
	if g.calls > 0 {
		n := binary.AppendUvarint(nil, uint64(g.calls))
		b = appendString(binary.AppendUvarint(b, tagCalls), string(n))
	}
	return b
}

func parseGreeting(payload []byte) (greeting, error) {
	d := decoder{rest: string(payload)}
	if len(d.rest) < len(magic) || d.rest[:len(magic)] != magic {
		return greeting{}, fmt.Errorf("not a greeting of pillion's")
	}
	d.rest = d.rest[len(magic):]
	g := greeting{oldest: d.uvarint(), newest: d.uvarint()}
	for d.err == nil && d.rest != "" {
		tag, text := d.uvarint(), d.str()
		switch tag {
		case tagState:
			g.state = discovery.State(printable(text))
		case tagInstance:
			g.instance = printable(text)
		case tagVersion:
			g.version = printable(text)
		case tagCalls:
			n := decoder{rest: text}
			g.calls = int(min(n.uvarint(), maxCalls))
			d.err = n.err
		}
	}
	if g.calls == 0 {
		g.calls = maxCalls
	}
	return g, d.err
}

// agree returns the highest revision that both sides speak, or 0.
func (g greeting) agree() uint64 {
	if r := min(g.newest, newestRevision); r >= max(g.oldest, oldestRevision) {
		return r
	}
	return 0
}
