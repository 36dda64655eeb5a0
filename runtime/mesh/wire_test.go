package mesh

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

// What decodes has one encoding that decodes the same.

func FuzzCallHead(f *testing.F) {
	f.Add(callHead{
		call: &invoke.Call{
			Verb: "POST", Path: "/a?b", Host: "h", Upgrade: "websocket", Major: 2, Attempt: 3, Only: true, Expect: true, Length: 7,
			Fields: invoke.Fields{{Name: "A", Value: "b"}, {Name: "a", Value: ""}},
		},
		target: discovery.Key{Namespace: "default", App: "callee"}, timeLeft: 5 * time.Second,
	}.append(nil))
	f.Add(callHead{call: &invoke.Call{Length: -1}}.append(nil))
	f.Add(callHead{call: &invoke.Call{Verb: "NONE", Path: "/m", RPC: &invoke.RPC{TypeURL: "type.example/T", Extended: true}}}.append(nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, payload []byte) {
		h, err := parseCallHead(payload, &invoke.Call{})
		if err != nil {
			t.Skip()
		}
		encoded := h.append(nil)
		if len(encoded) > h.size() {
			t.Errorf("%d bytes where size says %d", len(encoded), h.size())
		}
		again, err := parseCallHead(encoded, &invoke.Call{})
		if err != nil {
			t.Fatalf("what was encoded does not decode: %v", err)
		}
		if diff := cmp.Diff(*h.call, *again.call, cmpopts.EquateComparable(identity.ID{})); diff != "" || h.target != again.target || h.timeLeft != again.timeLeft {
			t.Errorf("changed on the way: %s", diff)
		}
		if h.check() == nil {
			line := h.call.Verb + h.call.Path + h.call.Host + h.call.Upgrade
			for _, field := range h.call.Fields {
				line += field.Name + field.Value
			}
			if strings.ContainsAny(line, "\r\n\x00") {
				t.Errorf("%q passes the check", line)
			}
		}
	})
}

func FuzzAnswerHead(f *testing.F) {
	f.Add((&answerHead{status: 200, major: 1, length: 12, fields: invoke.Fields{{Name: "Set-Cookie", Value: "a=b"}, {Name: "Set-Cookie", Value: "c"}}}).append(nil))
	f.Add((&answerHead{status: 404, major: 1, length: -1, phrase: "Nobody Home", reached: true, held: time.Second}).append(nil))
	f.Add([]byte{100, 0, 0, 0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		h, err := parseAnswerHead(payload)
		if err != nil {
			t.Skip()
		}
		encoded := h.append(nil)
		again, err := parseAnswerHead(encoded)
		if err != nil || len(encoded) > h.size() || !cmp.Equal(h, again, cmp.AllowUnexported(answerHead{})) {
			t.Errorf("%+v became %+v, %v, in %d bytes where size says %d", h, again, err, len(encoded), h.size())
		}
		if h.status < 100 || h.status > 999 {
			t.Errorf("status %d", h.status)
		}
	})
}

func FuzzGreeting(f *testing.F) {
	f.Add(greeting{oldest: 1, newest: 3, state: discovery.Ready, instance: "i", version: "v", calls: 9}.encode())
	f.Add([]byte("pillion\x01\x01\x63\x01x"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		g, err := parseGreeting(payload)
		if err != nil {
			t.Skip()
		}
		if r := g.agree(); r != 0 && (r < g.oldest || r > g.newest || r < oldestRevision || r > newestRevision) {
			t.Errorf("agreed on %d of %d to %d", r, g.oldest, g.newest)
		}
		again, err := parseGreeting(g.encode())
		if err != nil || again != g {
			t.Errorf("%+v became %+v, %v", g, again, err)
		}
		for _, s := range []string{string(g.state), g.instance, g.version} {
			if s != printable(s) && strings.IndexFunc(s, isUnprintable) >= 0 {
				t.Errorf("%q would move a terminal", s)
			}
		}
	})
}

func FuzzFault(f *testing.F) {
	f.Add(encodeFault(&apperr.Error{Reason: apperr.AppGone, What: "x", Run: []string{"a"}}))
	f.Add([]byte(`{"what":"\u001b[2J","reached":"no"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		e := parseFault(payload, apperr.ReachedMaybe, "inst")
		if e.Reached != apperr.ReachedMaybe {
			t.Error("the text decides how far the call came")
		}
		if strings.IndexFunc(e.Error(), isUnprintable) >= 0 {
			t.Errorf("%q would move a terminal", e.Error())
		}
		if n := len(encodeFault(e)); n > maxHead {
			t.Errorf("%d bytes", n)
		}
	})
}

// Frames are found again however the bytes are cut.
func FuzzFrames(f *testing.F) {
	f.Add(append(appendFrame(nil, kindData, 3, []byte("abc")), appendFrame(nil, kindPing, 0, nil)...), 1)
	f.Add(appendFrame(nil, kindHead|flagEnd, 1, bytes.Repeat([]byte("x"), 40<<10)), 7)
	f.Fuzz(func(t *testing.T, sent []byte, cut int) {
		whole, err1 := frames(bytes.NewReader(sent))
		pieces, err2 := frames(&slowReader{sent, cut%97 + 1})
		if !bytes.Equal(whole, pieces) || (err1 == nil) != (err2 == nil) {
			t.Errorf("%d bytes, %v in one; %d bytes, %v in pieces", len(whole), err1, len(pieces), err2)
		}
		if !bytes.HasPrefix(sent, whole) {
			t.Error("frames that were not sent")
		}
	})
}

func frames(r io.Reader) ([]byte, error) {
	fr := newFrameReader(r)
	var b []byte
	for {
		h, payload, err := fr.read()
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		k := h.kind
		if h.end {
			k |= flagEnd
		}
		b = appendFrame(b, k, h.call, payload)
	}
}

// A slowReader gives n bytes at a time.
type slowReader struct {
	rest []byte
	n    int
}

func (r *slowReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	k := copy(p[:min(max(r.n, 1), len(p))], r.rest)
	r.rest = r.rest[k:]
	return k, nil
}

func TestAnErrorThatIsTooLargeIsCutToWhatAFrameHolds(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é\n", 100_000)
	got := parseFault(encodeFault(&apperr.Error{Reason: apperr.AppGone, What: long, Cause: long, Hint: "h"}), apperr.ReachedNo, "i")
	if got.Reason != apperr.AppGone || got.Hint != "h" || got.Instance != "i" || len(got.What) == 0 || len(got.What) > 2*maxText {
		t.Errorf("%s %d %q %q", got.Reason, len(got.What), got.Hint, got.Instance)
	}
}

// An inbox holds little more memory than bytes, however they come.
func TestAnInboxIsNotInflatedByCrumbs(t *testing.T) {
	t.Parallel()
	in := &inbox{}
	in.more.L = &in.mu
	for range callWindow {
		if _, err := in.put([]byte{'x'}); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for _, p := range in.pieces {
		total += cap(p)
	}
	if total > callWindow+largePiece {
		t.Errorf("%d bytes take %d", callWindow, total)
	}
	if _, err := in.put([]byte{'x'}); err == nil {
		t.Error("more than the window is taken")
	}
	if back := in.shut(io.ErrClosedPipe); back != callWindow || len(in.pieces) != 0 {
		t.Errorf("%d given back, %d pieces kept", back, len(in.pieces))
	}
}
