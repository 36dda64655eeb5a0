package gitignore

import (
	"bytes"
	"strings"
)

// An outcome is that of matching a pattern, or the rest of one. As in git, a
// failure says how far back another try makes sense, or matching takes for ever.
type outcome int

const (
	matched outcome = iota
	failed
	abortAll          // whatever a star before it takes
	abortToDoubleStar // whatever a single star takes
)

// Match reports whether a path with slashes is one of those that a pattern such
// as src/**/*.go stands for.
func Match(pattern, path string) bool { return match(pattern, path, true) }

// match reports whether all of the text matches all of the pattern. If paths is
// set, only two stars match slashes. It is git's wildmatch: bytes, not runes.
func match(pattern, text string, paths bool) bool {
	return wildmatch([]byte(pattern), []byte(text), paths) == matched
}

func wildmatch(pattern, text []byte, paths bool) outcome {
	for p := 0; p < len(pattern); p++ {
		if pattern[p] == '*' {
			return star(pattern, p, text, paths)
		}
		if len(text) == 0 {
			return abortAll
		}
		last, got := one(pattern, p, text[0], paths)
		if got != matched {
			return got
		}
		p = last
		text = text[1:]
	}
	if len(text) > 0 {
		return failed
	}
	return matched
}

// one matches c with what is at p, and says where that ends.
func one(pattern []byte, p int, c byte, paths bool) (last int, got outcome) {
	is := pattern[p] == c
	switch pattern[p] {
	case '?':
		is = !paths || c != '/'
	case '\\':
		p++
		is = p < len(pattern) && pattern[p] == c
	case '[':
		b := bracket{pattern: pattern, p: p + 1, c: c}
		if !b.read() {
			return 0, abortAll
		}
		p, is = b.p, b.in && (!paths || c != '/')
	}
	if !is {
		return p, failed
	}
	return p, matched
}

// star matches from the star at p on.
func star(pattern []byte, p int, text []byte, paths bool) outcome {
	first := p
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	rest := pattern[p:]
	slashes := !paths
	if paths && p-first > 1 && (first == 0 || pattern[first-1] == '/') && beginsFolder(rest) {
		// What stands between two slashes may be nothing: a/**/b is a/b too.
		if len(rest) > 0 && rest[0] == '/' && wildmatch(rest[1:], text, paths) == matched {
			return matched
		}
		slashes = true
	}
	at := bytes.IndexByte(text, '/')
	switch {
	case len(rest) == 0 && !slashes && at >= 0:
		return abortToDoubleStar
	case len(rest) == 0:
		return matched
	case !slashes && rest[0] == '/' && at < 0:
		return abortAll
	case !slashes && rest[0] == '/':
		return wildmatch(rest[1:], text[at+1:], paths)
	}
	return starTakes(rest, text, slashes, paths)
}

// beginsFolder reports whether two stars before rest are a folder's name.
func beginsFolder(rest []byte) bool {
	return len(rest) == 0 || rest[0] == '/' || bytes.HasPrefix(rest, []byte(`\/`))
}

// starTakes finds how much of the text a star takes before the rest of the
// pattern.
func starTakes(rest, text []byte, slashes, paths bool) outcome {
	for ; len(text) > 0; text = text[1:] {
		got := wildmatch(rest, text, paths)
		if got == failed && !slashes && text[0] == '/' {
			return abortToDoubleStar
		}
		if got != failed && (!slashes || got != abortToDoubleStar) {
			return got
		}
	}
	return abortAll
}

// A bracket is a bracket expression that is read for one byte.
type bracket struct {
	pattern []byte
	p       int  // what is read next; in the end the closing bracket
	c       byte // is it in?
	in      bool
	before  byte // what a range may begin with; 0 for none
}

// read reads the expression; false if it does not end, or is none.
func (b *bracket) read() bool {
	negated := b.at(0) == '!' || b.at(0) == '^'
	if negated {
		b.p++
	}
	for first := true; first || b.at(0) != ']'; first = false {
		if b.p >= len(b.pattern) || !b.element() {
			return false
		}
		b.p++
	}
	b.in = b.in != negated
	return b.p < len(b.pattern)
}

// at is the byte i behind the next one; 0 behind the end.
func (b *bracket) at(i int) byte {
	if b.p+i >= len(b.pattern) {
		return 0
	}
	return b.pattern[b.p+i]
}

// element reads a byte, a range or a class, and stands on its last byte.
func (b *bracket) element() bool {
	this := b.at(0)
	switch {
	case this == '\\':
		b.p++
		b.single(b.at(0))
	case this == '-' && b.before != 0 && b.at(1) != 0 && b.at(1) != ']':
		b.p++
		if b.at(0) == '\\' {
			b.p++
		}
		b.in = b.in || b.before <= b.c && b.c <= b.at(0)
		b.before = 0
	case this == '[' && b.at(1) == ':':
		return b.class()
	default:
		b.single(this)
	}
	return b.p < len(b.pattern)
}

func (b *bracket) single(c byte) {
	b.in = b.in || c == b.c
	b.before = c
}

// class reads a named class; without its end, the bracket stands for itself.
func (b *bracket) class() bool {
	name, _, ok := strings.Cut(string(b.pattern[b.p+2:]), "]")
	if !ok {
		return false
	}
	if !strings.HasSuffix(name, ":") {
		b.single('[')
		return true
	}
	is, known := named[strings.TrimSuffix(name, ":")]
	if !known {
		return false
	}
	b.in = b.in || is(b.c)
	b.before = 0
	b.p += 2 + len(name)
	return true
}

// named are the classes a bracket expression may name.
var named = map[string]func(byte) bool{
	"alnum":  func(c byte) bool { return isAlpha(c) || isDigit(c) },
	"alpha":  isAlpha,
	"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
	"cntrl":  func(c byte) bool { return c < ' ' || c == 0x7f },
	"digit":  isDigit,
	"graph":  func(c byte) bool { return ' ' < c && c < 0x7f },
	"lower":  isLower,
	"print":  func(c byte) bool { return ' ' <= c && c < 0x7f },
	"punct":  func(c byte) bool { return ' ' < c && c < 0x7f && !isAlpha(c) && !isDigit(c) },
	"space":  func(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' },
	"upper":  isUpper,
	"xdigit": func(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' },
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isAlpha(c byte) bool { return isLower(c) || isUpper(c) }
