package difftest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The protocols an app may speak, and the categories of the corpus.
var (
	http1Protocols = []string{"http", "https"}
	http2Protocols = []string{"h2c", "grpc", "grpcs"}
	allProtocols   = slices.Concat(http1Protocols, http2Protocols)

	categories = []string{
		"paths", "verbs", "fields", "bodies", "framing", "interim", "upgrades", "grpc", "errors", "disconnects",
	}
)

// A testCase is one exchange, or a few that belong together: what the client
// sends and what the app replies, step by step.
type testCase struct {
	category, name string
	at             string // file:line
	on             []string
	forms          []form
	// differs is the documented difference this case shows; "" for none.
	differs string
	// standard is the same for the standard engine.
	standard string
	// loose compares as for the standard engine: the request is one that the
	// fast engine leaves to it.
	loose bool
	// fails says what is still wrong here, where it is known and to be mended:
	// protocols, then why.
	fails string
	// alone runs it while nothing else runs on its pair of sidecars.
	alone       bool
	client, app []step
}

// A step is one thing that a side does.
type step struct {
	line int
	op   string
	arg  string // with quotes and repetitions resolved
}

func (s step) String() string { return fmt.Sprintf("line %d: %s %.60q", s.line, s.op, s.arg) }

// rawOps are steps only HTTP/1.1 has; streamOps only HTTP/2.
var (
	rawOps    = []string{"raw", "untilclose", "shut"}
	streamOps = []string{"message", "on", "goaway", "ping"}
	ops       = slices.Concat([]string{
		">", "<", "|", "body", "length", "stream", "chunk", "trailer", "end",
		"get", "mark", "wait", "close", "reset", "gone",
	}, rawOps, streamOps)
)

// readCorpus reads every case file. A file's category is its name up to the
// first hyphen or dot.
func readCorpus(dir string) ([]*testCase, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.case"))
	if err != nil {
		return nil, err
	}
	var all []*testCase
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		category := filepath.Base(name)
		category = category[:strings.IndexAny(category, "-.")]
		cases, err := parseCases(filepath.Base(name), category, string(data))
		if err != nil {
			return nil, err
		}
		all = append(all, cases...)
	}
	return all, nil
}

// A parser reads one case file.
type parser struct {
	file, category string
	line           int
	cases          []*testCase
	now            *testCase // the case being read, or what a table's cases share
	table          bool
	side           *[]step
}

func parseCases(file, category, text string) ([]*testCase, error) {
	p := &parser{file: file, category: category}
	for line := range strings.Lines(text) {
		p.line++
		line = strings.TrimRight(line, "\n")
		if err := p.read(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, p.line, err)
		}
	}
	p.finish()
	seen := map[string]bool{}
	for _, c := range p.cases {
		if seen[c.name] {
			return nil, fmt.Errorf("%s: two cases are called %q", c.at, c.name)
		}
		seen[c.name] = true
	}
	return p.cases, nil
}

func (p *parser) read(line string) error {
	switch {
	case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		return nil
	case strings.HasPrefix(line, "=== "):
		p.finish()
		name, table := strings.CutPrefix(line[len("=== "):], "each ")
		p.now = &testCase{category: p.category, name: name, at: p.place(), forms: []form{direct, pathForm, headerForm}}
		p.table, p.side = table, nil
		return nil
	case p.now == nil:
		return fmt.Errorf("%q before the first case", line)
	case line == "client:":
		p.side = &p.now.client
		return nil
	case line == "app:":
		p.side = &p.now.app
		return nil
	}
	if key, value, ok := strings.Cut(line, ": "); ok {
		if known, err := p.option(key, value); known {
			return err
		}
	}
	if p.table {
		return p.row(line)
	}
	if p.side == nil {
		return fmt.Errorf("%q belongs to neither side", line)
	}
	s, err := p.step(line)
	*p.side = append(*p.side, s)
	return err
}

func (p *parser) place() string { return p.file + ":" + strconv.Itoa(p.line) }

// option reads a line of the case's head.
func (p *parser) option(key, value string) (known bool, err error) {
	switch key {
	case "on":
		p.now.on = strings.Fields(value)
		for _, name := range p.now.on {
			if !slices.Contains(allProtocols, name) {
				return true, fmt.Errorf("unknown protocol %q", name)
			}
		}
	case "form":
		p.now.forms = []form{direct}
		for name := range strings.FieldsSeq(value) {
			f := form(name)
			if f != pathForm && f != headerForm {
				return true, fmt.Errorf("unknown form %q", name)
			}
			p.now.forms = append(p.now.forms, f)
		}
	case "differs":
		p.now.differs = value
	case "fails":
		p.now.fails = value
	case "loose":
		p.now.loose = value == "yes"
	case "standard":
		p.now.standard = value
	case "alone":
		p.now.alone = value == "yes"
	default:
		return false, nil
	}
	return true, nil
}

// step reads a line of a script.
func (p *parser) step(line string) (step, error) {
	op, arg, _ := strings.Cut(strings.TrimLeft(line, " \t"), " ")
	s := step{line: p.line, op: op}
	if !slices.Contains(ops, op) {
		return s, fmt.Errorf("unknown step %q", op)
	}
	var err error
	if op == ">" {
		verb, target, _ := strings.Cut(arg, " ")
		target, err = unquote(target)
		s.arg = verb + " " + target
		return s, err
	}
	s.arg, err = unquote(arg)
	return s, err
}

// row makes a case of a table's line:
//
//	> GET /x        a request
//	| a: b          a field of GET /
//	body x          a body of POST /
//	< 201 Created   an answer to GET /, with a small body
//	<| a: b         a field of the answer to GET /
//	<body x         the answer's body
//	raw "…"         a request as it stands, for a table of refusals
func (p *parser) row(line string) error {
	shared := *p.now
	c := &shared
	c.name, c.at = p.now.name+": "+short(line, p.line), p.place()
	answer := false
	text := line
	if len(line) > 1 && line[0] == '<' && line[1] != ' ' {
		answer, text = true, line[1:]
	}
	s, err := p.step(text)
	if err != nil {
		return err
	}
	get := step{p.line, ">", "GET /"}
	c.client = []step{get}
	switch {
	case s.op == ">" || s.op == "raw":
		c.client = []step{s}
	case s.op == "<":
		c.app = []step{{p.line, "get", ""}, s, {p.line, "body", "body"}}
	case s.op == "|" && answer:
		c.app = []step{{p.line, "get", ""}, {p.line, "<", "200 OK"}, s, {p.line, "body", "body"}}
	case s.op == "body" && answer:
		c.app = []step{{p.line, "get", ""}, {p.line, "<", "200 OK"}, s}
	case s.op == "|":
		c.client = []step{get, s}
	case s.op == "body":
		c.client = []step{{p.line, ">", "POST /"}, s}
	default:
		return fmt.Errorf("%q in a table", line)
	}
	p.add(c)
	return nil
}

// short is a table's line as a name.
func short(line string, number int) string {
	const most = 60
	if len(line) <= most {
		return line
	}
	return fmt.Sprintf("%.*s… in line %d", most, line, number)
}

// finish ends the case being read.
func (p *parser) finish() {
	if p.now != nil && !p.table {
		p.add(p.now)
	}
	p.now = nil
}

// add completes what the case leaves open.
func (p *parser) add(c *testCase) {
	if len(c.on) == 0 {
		switch {
		case usesAny(c, rawOps):
			c.on = http1Protocols
		case usesAny(c, streamOps):
			c.on = http2Protocols
		default:
			c.on = allProtocols
		}
	}
	if len(c.app) == 0 {
		c.app = plainAnswers(c)
	}
	p.cases = append(p.cases, c)
}

// isGRPC reports whether the client makes calls of gRPC.
func (c *testCase) isGRPC() bool {
	return slices.ContainsFunc(c.client, func(s step) bool {
		kind, found := strings.CutPrefix(strings.ToLower(s.arg), "content-type: application/grpc")
		return s.op == "|" && found && (kind == "" || strings.ContainsAny(kind[:1], "+; "))
	})
}

// knownToFail reports whether the case is known to fail for a protocol.
func (c *testCase) knownToFail(protocol string) bool {
	return slices.Contains(strings.Fields(c.fails), protocol)
}

func usesAny(c *testCase, ops []string) bool {
	for _, s := range slices.Concat(c.client, c.app) {
		if slices.Contains(ops, s.op) {
			return true
		}
	}
	return false
}

// plainAnswers is an app that answers each request once it is complete.
func plainAnswers(c *testCase) []step {
	var out []step
	for _, s := range c.client {
		if s.op == ">" {
			out = append(out, step{s.line, "get", ""}, step{s.line, "<", "200 OK"}, step{s.line, "|", "Content-Type: text/plain"})
			if strings.HasPrefix(s.arg, "HEAD ") {
				out = append(out, step{s.line, "|", "Content-Length: 2"}, step{s.line, "mark", "answered"})
			} else {
				out = append(out, step{s.line, "body", "ok"})
			}
		}
	}
	return out
}

// unquote is an argument as it is meant: the text as it stands; or Go strings
// in quotes, one behind the other, each repeated *N times.
func unquote(arg string) (string, error) {
	if !strings.HasPrefix(arg, `"`) {
		return arg, nil
	}
	var b strings.Builder
	for rest := arg; rest != ""; rest = strings.TrimLeft(rest, " ") {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return "", fmt.Errorf("%q: %w", rest, err)
		}
		s, err := strconv.Unquote(quoted)
		if err != nil {
			return "", fmt.Errorf("%q: %w", rest, err)
		}
		rest = rest[len(quoted):]
		times := 1
		if after, ok := strings.CutPrefix(rest, "*"); ok {
			end := strings.IndexByte(after+" ", ' ')
			if times, err = strconv.Atoi(after[:end]); err != nil {
				return "", err
			}
			rest = after[end:]
		}
		b.WriteString(strings.Repeat(s, times))
	}
	return b.String(), nil
}
