package mesh

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// Flags of a callHead.
const (
	flagExpect = 1 << iota
	flagOnly
	flagRPC      // what it says follows the fields
	flagExtended // its caller said something about HTTP
)

// maxTimeLeft keeps a time left within what time.Duration holds.
const (
	maxTimeLeft = 365 * 24 * time.Hour
	maxMicros   = uint64(maxTimeLeft / time.Microsecond)
)

// A callHead is a call as it crosses the mesh, without its body. The caller's
// identity is not in it: it comes from the certificate.
type callHead struct {
	call     *invoke.Call
	target   discovery.Key
	timeLeft time.Duration // 0 is none; at least a microsecond otherwise
}

func (h callHead) append(b []byte) []byte {
	c := h.call
	var flags uint64
	if c.Expect {
		flags |= flagExpect
	}
	if c.Only {
		flags |= flagOnly
	}
	if c.RPC != nil {
		flags |= flagRPC
		if c.RPC.Extended {
			flags |= flagExtended
		}
	}
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendUvarint(b, uint64(max(c.Major, 0)))
	b = binary.AppendUvarint(b, uint64(max(c.Attempt, 0)))
	b = binary.AppendUvarint(b, micros(h.timeLeft))
	b = appendLength(b, c.Length)
	upgrade := c.Upgrade
	if c.Body != nil {
		upgrade = "" // RFC 9110 §7.8 allows it, and a tunnel's first bytes would follow a body's last
	}
	for _, s := range [...]string{c.Verb, c.Path, c.Host, upgrade, h.target.App, h.target.Namespace} {
		b = appendString(b, s)
	}
	b = appendFields(b, c.Fields)
	if c.RPC != nil {
		b = appendString(b, c.RPC.TypeURL)
	}
	return b
}

// size is at least the encoded size, so that a head that is too large is never
// built.
func (h callHead) size() int {
	c := h.call
	rpc := 0
	if c.RPC != nil {
		rpc = len(c.RPC.TypeURL) + binary.MaxVarintLen64
	}
	return rpc + len(c.Verb) + len(c.Path) + len(c.Host) + len(c.Upgrade) + len(h.target.App) +
		len(h.target.Namespace) + 11*binary.MaxVarintLen64 + fieldsSize(c.Fields)
}

// parseCallHead reads a head into c.
func parseCallHead(payload []byte, c *invoke.Call) (callHead, error) {
	d := decoder{rest: string(payload)}
	h := callHead{call: c}
	flags := d.uvarint()
	c.Expect = flags&flagExpect != 0
	c.Only = flags&flagOnly != 0
	c.Major = d.small(9)
	c.Attempt = d.small(1 << 30)
	h.timeLeft = duration(d.number(maxMicros))
	c.Length = d.length()
	for _, s := range [...]*string{&c.Verb, &c.Path, &c.Host, &c.Upgrade, &h.target.App, &h.target.Namespace} {
		*s = d.str()
	}
	c.Fields = d.fields()
	if flags&flagRPC != 0 {
		c.RPC = &invoke.RPC{TypeURL: d.str(), Extended: flags&flagExtended != 0}
	}
	c.Target = invoke.Target{App: h.target.App, Namespace: h.target.Namespace, Given: h.target.App}
	return h, d.err
}

// check returns why a head that decodes well cannot be given to an app. Heads
// are written anew by the app's codec, and what would end a line early there
// must not pass here.
func (h callHead) check() error {
	c := h.call
	switch {
	case !httpguts.ValidHeaderFieldName(c.Verb):
		return fmt.Errorf("%q is not a verb", c.Verb)
	case c.Path != "*" && !strings.HasPrefix(c.Path, "/") || !isClean(c.Path) || strings.Contains(c.Path, " "):
		return fmt.Errorf("%q is not a path", c.Path)
	case !isClean(c.Upgrade) || !isClean(c.Host):
		return fmt.Errorf("control characters in the head")
	}
	return checkFields(c.Fields)
}

// An answerHead is the head of an answer: of the final one or of a 1xx. The
// final one tells that the app has been reached, and how long the call was held
// before, if no frame of its own has.
type answerHead struct {
	status, major int
	length        int64
	fields        invoke.Fields
	phrase        string
	reached       bool
	held          time.Duration
}

func (h *answerHead) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(max(h.status, 0)))
	b = binary.AppendUvarint(b, uint64(max(h.major, 0)))
	b = appendLength(b, h.length)
	b = appendFields(b, h.fields)
	if !h.reached && h.phrase == "" {
		return b
	}
	held := uint64(0)
	if h.reached {
		held = 1 + micros(h.held)
	}
	b = binary.AppendUvarint(b, held)
	return appendString(b, h.phrase)
}

func (h *answerHead) size() int {
	return 6*binary.MaxVarintLen64 + fieldsSize(h.fields) + len(h.phrase)
}

func parseAnswerHead(payload []byte) (answerHead, error) {
	d := decoder{rest: string(payload)}
	h := answerHead{
		status: d.small(999),
		major:  d.small(9),
	}
	h.length = d.length()
	h.fields = d.fields()
	if d.err == nil && d.rest != "" {
		held := d.number(maxMicros + 1)
		h.phrase = d.str()
		if h.reached = held > 0; h.reached {
			h.held = duration(held - 1)
		}
	}
	if d.err == nil && h.status < 100 {
		return h, fmt.Errorf("the status %d", h.status)
	}
	return h, d.err
}

// check returns why a head that decodes well cannot be given to a client.
func (h *answerHead) check() error {
	if !isClean(h.phrase) {
		return fmt.Errorf("control characters in the phrase")
	}
	return checkFields(h.fields)
}

// A length is sent as one more than it is, so that zero is "not known".
func appendLength(b []byte, n int64) []byte { return binary.AppendUvarint(b, uint64(max(n, -1)+1)) }

func (d *decoder) length() int64 {
	return int64(d.number(1<<62)) - 1 //nolint:gosec // the limit holds
}

// small reads a number that is at most limit.
func (d *decoder) small(limit uint32) int {
	return int(d.number(uint64(limit))) //nolint:gosec // the limit holds
}

func parseFields(payload []byte) (invoke.Fields, error) {
	d := decoder{rest: string(payload)}
	fields := d.fields()
	return fields, d.err
}

func checkFields(fields invoke.Fields) error {
	for i := range fields {
		if !httpguts.ValidHeaderFieldName(fields[i].Name) {
			return fmt.Errorf("%q is not a field's name", fields[i].Name)
		}
		if !isClean(fields[i].Value) {
			return fmt.Errorf("the field %s holds a line's end", fields[i].Name)
		}
	}
	return nil
}

// isClean reports whether s can stand in a line of an HTTP/1.1 head.
func isClean(s string) bool {
	for i := range len(s) {
		if s[i] == '\r' || s[i] == '\n' || s[i] == 0 {
			return false
		}
	}
	return true
}
