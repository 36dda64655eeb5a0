package access

import (
	"strings"
	"unicode/utf8"
)

// CleanPath returns the path that rules are matched against: that of a request
// target decoded once, without its query, a trailing slash and empty or dot
// segments. doubt is "" if every program reads the raw path the same way;
// otherwise it says in words what some read differently, so that a rule may be
// dodged by it, and the path is only the likeliest meaning.
//
// A path of plain characters costs no allocation.
func CleanPath(target string) (path, doubt string) {
	raw, _, _ := strings.Cut(target, "?")
	if raw == "*" { // of OPTIONS
		return raw, ""
	}
	if isPlain(raw) {
		if len(raw) > 1 && raw[len(raw)-1] == '/' {
			raw = raw[:len(raw)-1]
		}
		return raw, ""
	}
	doubt = rawDoubt(raw)
	decoded, escapes := decode(raw)
	if doubt == "" {
		doubt = escapes
	}
	if doubt == "" {
		doubt = decodedDoubt(decoded)
	}
	return clean(decoded), doubt
}

// isPlain reports whether raw means the same to everybody as it stands.
func isPlain(raw string) bool {
	if raw == "" || raw[0] != '/' {
		return false
	}
	for i := 1; i < len(raw); i++ {
		switch c := raw[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '~':
		case c == '/' || c == '.':
			if raw[i-1] == '/' {
				return false // empty, or perhaps . or ..
			}
		default:
			return false
		}
	}
	return true
}

// rawDoubt is what is doubtful before anything is decoded.
func rawDoubt(raw string) string {
	switch {
	case raw == "" || raw[0] != '/':
		return "it does not begin with a slash"
	case strings.Contains(raw, "//"):
		return "it has an empty segment (//)"
	case strings.Contains(raw, "#"):
		return "it has a raw #"
	}
	return ""
}

// decode takes the escapes out, once. What is no escape stays as it is.
func decode(raw string) (decoded, doubt string) {
	if !strings.Contains(raw, "%") {
		return raw, ""
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '%' {
			out = append(out, raw[i])
			continue
		}
		c, ok := escape(raw[i:])
		if !ok {
			out = append(out, '%')
			doubt = "it has a % that begins no escape"
			continue
		}
		if doubt == "" {
			doubt = escapeDoubt(c, raw[i:i+3])
		}
		out = append(out, c)
		i += 2
	}
	if doubt == "" && escaped(string(out)) {
		doubt = "it is encoded twice"
	}
	return string(out), doubt
}

// escapeDoubt is what is doubtful about a character that is written as an
// escape.
func escapeDoubt(c byte, written string) string {
	switch c {
	case '/', '\\', '?', '#', ';':
		return "it has an encoded " + string(rune(c)) + " (" + written + ")"
	}
	return ""
}

// decodedDoubt is what is doubtful about a path without escapes.
func decodedDoubt(path string) string {
	if !utf8.ValidString(path) {
		return "it is not UTF-8"
	}
	for i := range len(path) {
		switch c := path[i]; {
		case c < ' ' || c == 0x7f:
			return "it has a control character"
		case c == '\\':
			return `it has a backslash`
		case c == ';':
			return "it has a parameter (;)" // which many programs cut off
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return "it has a dot segment (" + segment + ")"
		}
	}
	return ""
}

// escape reads the escape that s begins with.
func escape(s string) (c byte, ok bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	high, ok1 := hex(s[1])
	low, ok2 := hex(s[2])
	return high<<4 | low, ok1 && ok2
}

// escaped reports whether there is an escape in s.
func escaped(s string) bool {
	for i := range len(s) {
		if _, ok := escape(s[i:]); ok {
			return true
		}
	}
	return false
}

func hex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// clean resolves what the segments of a decoded path say. Backslashes and
// parameters are read as the programs do that know them.
func clean(decoded string) string {
	var kept []string
	for segment := range strings.FieldsFuncSeq(decoded, func(c rune) bool { return c == '/' || c == '\\' }) {
		segment, _, _ = strings.Cut(segment, ";")
		switch segment {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/")
}
