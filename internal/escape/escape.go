// Package escape reads the escape sequences of terminals (ECMA-48) in text an
// app wrote, so that what reaches a pipe has none, and what reaches a terminal
// has colours and nothing that moves, clears or renames it.
package escape

import "bytes"

const (
	esc = 0x1b
	bel = 0x07
	del = 0x7f
)

// kind is what a token of the text is.
type kind uint8

const (
	text    kind = iota // to be shown
	colour              // a colour or weight: CSI … m
	control             // any other sequence, and control characters but tabs
	back                // carriage return: the row begins anew
)

// Plain is b without escape sequences and without control characters other
// than tabs. Of a row that carriage returns rewrote, the last state counts. It
// returns b itself if there is nothing to leave out.
func Plain(b []byte) []byte { return dress(b, keepNothing) }

// Colours is Plain with the colours kept.
func Colours(b []byte) []byte { return dress(b, keepColours) }

// Text is b without escape sequences and otherwise whole. It returns b itself
// if there is nothing to leave out.
func Text(b []byte) []byte {
	if bytes.IndexByte(b, esc) < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		n, k := next(b)
		if k == text || b[0] != esc {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	return out
}

// keep says which tokens beside the text dress keeps.
type keep uint8

const (
	keepNothing keep = iota
	keepColours
)

func dress(b []byte, which keep) []byte {
	if clean(b) {
		return b
	}
	out := make([]byte, 0, len(b))
	rewritten := false // the next text replaces what the row shows
	for len(b) > 0 {
		n, k := next(b)
		switch {
		case k == text:
			if rewritten {
				out = onlyColours(out)
				rewritten = false
			}
			out = join(out, b[:n])
		case k == colour && which == keepColours:
			out = append(out, b[:n]...)
		case k == back:
			rewritten = true
		}
		b = b[n:]
	}
	return out
}

// join appends part to out. What was left out between them must not make a
// control character of two halves.
func join(out, part []byte) []byte {
	for part[0] >= 0x80 && part[0] < 0xa0 && len(out) > 0 && out[len(out)-1] == 0xc2 {
		out = out[:len(out)-1]
	}
	return append(out, part...)
}

// onlyColours leaves, in place, what still counts of a row that is written
// anew: the colours it opened.
func onlyColours(row []byte) []byte {
	kept := row[:0]
	for len(row) > 0 {
		n, k := next(row)
		if k == colour {
			kept = append(kept, row[:n]...)
		}
		row = row[n:]
	}
	return kept
}

// clean reports whether b holds text and tabs only.
func clean(b []byte) bool {
	for i, c := range b {
		if c < 0x20 && c != '\t' || c == del || c1(b[i:]) {
			return false
		}
	}
	return true
}

// c1 reports whether b begins with a control character of ECMA-48's second
// set in UTF-8, U+0080 to U+009F: terminals take some of them for ESC [.
func c1(b []byte) bool {
	return len(b) > 1 && b[0] == 0xc2 && b[1] >= 0x80 && b[1] < 0xa0
}

// next is the length and the kind of b's first token. b is not empty.
func next(b []byte) (int, kind) {
	switch c := b[0]; {
	case c == esc:
		return sequence(b)
	case c == '\r':
		return 1, back
	case c == '\t':
		return 1, text
	case c < 0x20 || c == del:
		return 1, control
	case c1(b):
		return 2, control
	}
	n := 1
	for n < len(b) && b[n] >= 0x20 && b[n] != del && !c1(b[n:]) {
		n++
	}
	return n, text
}

// sequence is next for what begins with ESC. A sequence that is cut off by the
// end of b counts as one.
func sequence(b []byte) (int, kind) {
	if len(b) == 1 {
		return 1, control
	}
	switch b[1] {
	case '[':
		return csi(b)
	case ']', 'P', 'X', '^', '_': // OSC, DCS, SOS, PM, APC: up to BEL or ST
		for n := 2; n < len(b); n++ {
			switch {
			case b[n] == bel:
				return n + 1, control
			case b[n] == esc && n+1 < len(b) && b[n+1] == '\\':
				return n + 2, control
			case b[n] == esc:
				return n, control
			}
		}
		return len(b), control
	}
	n := 1
	for n < len(b) && b[n] >= 0x20 && b[n] <= 0x2f { // intermediate bytes
		n++
	}
	if n < len(b) && b[n] >= 0x30 && b[n] < del {
		n++
	}
	return n, control
}

// csi is sequence for ESC [: parameters, intermediates, one final byte.
func csi(b []byte) (int, kind) {
	n, plain := 2, true
	for n < len(b) && b[n] >= 0x20 && b[n] <= 0x3f {
		// ESC [ > 4 m is not a colour: it sets how keys are reported.
		plain = plain && (b[n] >= '0' && b[n] <= '9' || b[n] == ';' || b[n] == ':')
		n++
	}
	if n == len(b) || b[n] < 0x40 || b[n] >= del {
		return n, control // cut off, or broken: what follows is text again
	}
	if b[n] == 'm' && plain {
		return n + 1, colour
	}
	return n + 1, control
}
