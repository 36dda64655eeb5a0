package difftest_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
)

// seeds is how many exchanges are made up for each protocol and engine.
func seeds() int {
	if os.Getenv("PILLION_LONG") != "" {
		return 2000
	}
	return 100
}

// generated are exchanges made of a seed each: the same ones every time.
func generated(protocol string) []*testCase {
	var all []*testCase
	for seed := range seeds() {
		g := &generator{rnd: rand.New(rand.NewPCG(uint64(seed), 1))} // the same each time
		c := g.exchange()
		c.category, c.name, c.on = "generated", "seed "+strconv.Itoa(seed), []string{protocol}
		c.at = fmt.Sprintf("seed %d:\n%s\n", seed, c)
		all = append(all, c)
	}
	return all
}

// A generator makes exchanges up.
type generator struct{ rnd *rand.Rand }

// exchange is a client that asks a few times, one after the other.
func (g *generator) exchange() *testCase {
	c := &testCase{forms: []form{direct, pathForm, headerForm}}
	for range 1 + g.rnd.IntN(3) {
		verb := g.one("GET", "GET", "POST", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "QUERY")
		c.client = append(c.client, step{op: ">", arg: verb + " " + g.path()})
		c.client = append(c.client, g.fields("x-", true)...)
		c.client = append(c.client, g.body(true)...)
		c.client = append(c.client, step{op: "get"})
		c.app = append(c.app, step{op: "get"})
		for range g.rnd.IntN(8) / 6 {
			c.app = append(c.app, step{op: "<", arg: "103 Early Hints"})
			c.app = append(c.app, g.fields("Link", false)...)
		}
		c.app = append(c.app, g.answer(verb)...)
	}
	return c
}

// answer is what fits a request with verb.
func (g *generator) answer(verb string) []step {
	status := g.one("200 OK", "200 OK", "201 Created", "204 No Content", "304 Not Modified", "400 Bad Request", "404 Not Found", "500 Internal Server Error", "503 Service Unavailable")
	steps := append([]step{{op: "<", arg: status}}, g.fields("X-", true)...)
	switch {
	case verb == "HEAD":
		return append(steps, step{op: "|", arg: "Content-Length: " + strconv.Itoa(g.rnd.IntN(100000))})
	case strings.HasPrefix(status, "204"), strings.HasPrefix(status, "304"):
		return steps
	}
	return append(steps, g.body(false)...)
}

func (g *generator) one(of ...string) string { return of[g.rnd.IntN(len(of))] }

// path is a target with odd bytes, all of them allowed.
func (g *generator) path() string {
	var b strings.Builder
	b.WriteString("/" + g.word())
	for range g.rnd.IntN(12) {
		b.WriteString(g.one("/", "//", "/.", "/..", "%2F", "%25", "%20", "%00", "%C3%A4", "+", ";a=b", ":", "@", "~", "*", "'", "(", ")", "!", "$", "&", "=", ",", g.word(), g.word()))
	}
	if g.rnd.IntN(3) == 0 {
		b.WriteString("?" + g.one("", "a=b", "a=%26&b", "q=/../x//y", "?", "x=%zz", g.word()))
	}
	return b.String()
}

func (g *generator) word() string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
	b := make([]byte, 1+g.rnd.IntN(12))
	for i := range b {
		b[i] = letters[g.rnd.IntN(len(letters))]
	}
	return string(b)
}

// fields are a few lines; a name may come more than once, in any case.
func (g *generator) fields(prefix string, many bool) []step {
	most := 2
	if many {
		most = 12
	}
	var out []step
	for range g.rnd.IntN(most) {
		name := prefix + g.one("a", "A", "b", "Cc", "cC", "long-Name", "1", "d_e", g.word())
		value := g.one("", "1", "a b", "a\tb", `"quoted, x"`, "a,b", "ä", "=;:/?#", strings.Repeat("v", g.rnd.IntN(3000)), g.word())
		out = append(out, step{op: "|", arg: name + ": " + value})
	}
	return out
}

// body is a body, or none.
func (g *generator) body(request bool) []step {
	kinds := 3
	if request {
		kinds = 4 // or nothing
	}
	switch g.rnd.IntN(kinds) {
	case 0:
		return []step{{op: "body", arg: g.bytes(70000)}}
	case 1:
		return []step{{op: "body", arg: g.bytes(200)}}
	case 2:
		return g.stream()
	default:
		return nil
	}
}

func (g *generator) bytes(most int) string {
	b := make([]byte, g.rnd.IntN(most))
	for i := range b {
		b[i] = byte(g.rnd.IntN(256))
	}
	return string(b)
}

// stream is a body in pieces, with or without trailers.
func (g *generator) stream() []step {
	var out []step
	names := map[string]string{}
	if g.rnd.IntN(3) == 0 {
		for range 1 + g.rnd.IntN(3) {
			names["x-t-"+g.one("a", "b", "c")] = g.word()
		}
		sorted := make([]string, 0, len(names))
		for name := range names {
			sorted = append(sorted, name)
		}
		slices.Sort(sorted)
		out = append(out, step{op: "|", arg: "Trailer: " + strings.Join(sorted, ", ")}, step{op: "stream"})
		out = append(out, g.pieces()...)
		for _, name := range sorted {
			out = append(out, step{op: "trailer", arg: name + ": " + names[name]})
		}
		return append(out, step{op: "end"})
	}
	out = append(out, step{op: "stream"})
	return append(append(out, g.pieces()...), step{op: "end"})
}

func (g *generator) pieces() []step {
	var out []step
	for range g.rnd.IntN(6) {
		out = append(out, step{op: "chunk", arg: "x" + g.bytes(g.size(10, 1000, 40000))})
	}
	return out
}

func (g *generator) size(of ...int) int { return of[g.rnd.IntN(len(of))] }

// String is a case as a file would have it, long texts cut short.
func (c *testCase) String() string {
	var b strings.Builder
	for _, side := range []struct {
		name  string
		steps []step
	}{{client, c.client}, {app, c.app}} {
		b.WriteString(side.name + ":\n")
		for _, s := range side.steps {
			b.WriteString(s.op)
			if s.arg != "" {
				fmt.Fprintf(&b, " %.100q", s.arg)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}
