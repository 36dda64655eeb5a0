package difftest_test

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// The suite can only be believed if it can fail.

// shownAs is how a request with these fields is shown.
func shownAs(v view, start string, fields ...field) string {
	m := &message{start: start, fields: fields, end: ended}
	return strings.Join(v.request(m), "\n")
}

// passed is a request as an app gets it through two sidecars.
func passed(fields ...field) []field {
	for _, name := range added {
		fields = append(fields, field{name, "x"})
	}
	return append([]field{{"Host", "app"}}, fields...)
}

func TestWhatIsNotOnTheListIsSeen(t *testing.T) {
	t.Parallel()
	sent := []field{{"Host", "door"}, {"X-A", "1"}, {"X-B", " 2"}, {"X-A", "3"}}
	want := shownAs(view{}, "GET /a%2Fb", sent...)
	for what, c := range map[string]struct {
		start string
		got   []field
		same  bool
	}{
		"the same":           {"GET /a%2Fb", passed(sent[1:]...), true},
		"blanks":             {"GET /a%2Fb", passed(field{"X-A", "\t1 "}, field{"X-B", "2"}, field{"X-A", "3"}), true},
		"one hop":            {"GET /a%2Fb", passed(append([]field{{"Connection", "x-c"}, {"X-C", "1"}}, sent[1:]...)...), true},
		"another path":       {"GET /a/b", passed(sent[1:]...), false},
		"another case":       {"GET /a%2Fb", passed(field{"x-a", "1"}, sent[2], sent[3]), false},
		"another order":      {"GET /a%2Fb", passed(sent[2], sent[1], sent[3]), false},
		"another value":      {"GET /a%2Fb", passed(sent[1], sent[2], field{"X-A", "4"}), false},
		"one less":           {"GET /a%2Fb", passed(sent[1], sent[2]), false},
		"one more":           {"GET /a%2Fb", passed(sent[1], sent[2], sent[3], sent[3]), false},
		"two hosts":          {"GET /a%2Fb", append(passed(sent[1:]...), field{"Host", "x"}), false},
		"nothing added":      {"GET /a%2Fb", sent, false},
		"forwarded replaced": {"GET /a%2Fb", append(passed(sent[1:]...), field{"Forwarded", "x"}), false},
	} {
		got := shownAs(view{through: true}, c.start, c.got...)
		if (got == want) != c.same {
			t.Errorf("%s: shown as\n%s\nwant the same as below: %t\n%s", what, got, c.same, want)
		}
	}
}

func TestWhatFollowsAHeadIsSeen(t *testing.T) {
	t.Parallel()
	whole := func() *message {
		return &message{start: "200", phrase: "OK", framing: "chunked", body: []byte("body"), trailers: []field{{"X-T", "1"}}, end: ended}
	}
	want := strings.Join(view{}.answer(whole()), "\n")
	for what, change := range map[string]func(m *message){
		"status":   func(m *message) { m.start = "201" },
		"phrase":   func(m *message) { m.phrase = "Fine" },
		"length":   func(m *message) { m.framing = "length 4" },
		"body":     func(m *message) { m.body = []byte("bodY") },
		"trailer":  func(m *message) { m.trailers = nil },
		"cut off":  func(m *message) { m.end = cutOff },
		"1xx":      func(m *message) { m.interim = []*message{{start: "103"}} },
		"upgraded": func(m *message) { m.end = upgraded },
	} {
		m := whole()
		change(m)
		if got := strings.Join(view{through: true}.answer(m), "\n"); got == want {
			t.Errorf("a change of %s is not seen", what)
		}
	}
}

func TestCaseFilesAreReadStrictly(t *testing.T) {
	t.Parallel()
	const head = "=== a\nclient:\n"
	for text, want := range map[string]string{
		"> GET /\n":                              `before the first case`,
		"=== a\n> GET /\n":                       `belongs to neither side`,
		head + "say hello\n":                     `unknown step "say"`,
		"=== a\non: spdy\n":                      `unknown protocol "spdy"`,
		"=== a\nform: sideways\n":                `unknown form "sideways"`,
		head + "body \"unfinished\n":             `invalid syntax`,
		"=== a\n=== a\n":                         `two cases are called "a"`,
		"=== each x\nend\n":                      `"end" in a table`,
		head + "> GET /\nbody \"ab\"*2 \"c\"\n":  "",
		"=== each x\n> GET /\n| a: b\n<body c\n": "",
	} {
		_, err := parseCases("test.case", "paths", text)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	got, err := unquote(`"ab"*2 "\x00" "c"`)
	if want := "abab\x00c"; got != want || err != nil {
		t.Errorf("unquote: %q (%v), want %q", got, err, want)
	}
}

// documented are the headings of docs/differences.md that the rules of the
// comparison name.
var documented = []string{
	"Target", "Host", "Added", "Reserved names", "Time left", "Framing", "An answer before the request's end", "No answer",
	"gRPC that breaks off", "100 Continue", "Folded lines", "Fields of one hop", "Blanks", "Cookies", "Resets", "Breaks",
	"A client that closes its direction",
}

func TestTheListSaysWhatIsTakenOut(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, heading := range documented {
		if !strings.Contains(string(text), "| **"+heading+"** |") {
			t.Errorf("docs/differences.md does not say: %s", heading)
		}
	}
	for _, name := range slices.Concat(added, ofOneHop) {
		if !strings.Contains(strings.ToLower(string(text)), "`"+name+"`") {
			t.Errorf("docs/differences.md does not name %s", name)
		}
	}
}
