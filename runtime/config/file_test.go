package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
)

func TestAMistakeInTheFileNamesLineColumnAndTheLineItself(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text, what, cause, hint string
	}{
		"unknown key": {
			"lan: true\n\ndiscovry: [local]\n",
			`config.yaml:3:1: unknown key "discovry"`, "discovry: [local]", "did you mean discovery?",
		},
		"unknown key in a block": {
			"logs:\n  perRuns: 1MB\n",
			`config.yaml:2:3: unknown key "perRuns"`, "perRuns: 1MB", "did you mean perRun?",
		},
		"nothing near": {
			"zebra: 1\n", `config.yaml:1:1: unknown key "zebra"`, "zebra: 1", "the keys here are namespace, lan",
		},
		"a block for a value": {"hold:\n  a: 1\n", "config.yaml:2:4: hold: a value", "a: 1", ""},
		"a value for a block": {"logs: 7\n", "config.yaml:1:7: keys and values", "logs: 7", ""},
		"no YAML":             {"lan: [true\n", "config.yaml:1:6: ", "lan: [true", ""},
		"a key twice":         {"lan: true\nlan: false\n", "config.yaml:2:1: ", "lan: false", ""},
		"a list":              {"- lan\n", "config.yaml:1:1: keys and values", "- lan", ""},
		"two documents":       {"lan: true\n---\nlan: false\n", "config.yaml:3:", "lan: false", ""},
		"binary":              {"\x00\x01\x02", "config.yaml:1:", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("config.yaml", []byte(c.text))
			var e *apperr.Error
			if !errors.As(err, &e) {
				t.Fatalf("Parse = %v, want an error of ours", err)
			}
			if e.Reason != apperr.OwnConfig || !strings.HasPrefix(e.What, c.what) ||
				!strings.HasPrefix(e.Cause, c.cause) || !strings.HasPrefix(e.Hint, c.hint) {
				t.Errorf("got %q cause %q hint %q,\nwant %q cause %q hint %q", e.What, e.Cause, e.Hint, c.what, c.cause, c.hint)
			}
		})
	}
}

func TestAllWrongKeysAreReported(t *testing.T) {
	t.Parallel()
	_, err := Parse("config.yaml", []byte("zebra: 1\nlan: true\nyak: 2\n"))
	if err == nil || !strings.Contains(err.Error(), "zebra") || !strings.Contains(err.Error(), "yak") {
		t.Errorf("Parse = %v, want both keys", err)
	}
}

func TestTheFileOfInitSaysNothingAndEveryKeyOfItIsKnown(t *testing.T) {
	t.Parallel()
	if f := parse(t, string(DefaultFile())); len(f.values) != 0 {
		t.Errorf("the default file sets %v", f.values)
	}
	var live []string
	for line := range strings.Lines(string(DefaultFile())) {
		if rest, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(rest, " ") || strings.HasPrefix(rest, "  ") {
			live = append(live, rest)
		}
	}
	f := parse(t, strings.Join(live, ""))
	for _, s := range settings {
		if s.key == "" || s.key == "peers" || s.key == "allowedOrigins" || s.key == "allowedHosts" {
			continue // empty lists
		}
		if _, ok := f.values[s.key]; !ok {
			t.Errorf("the default file does not show %s; it has %v", s.key, slices.Sorted(keys(f.values)))
		}
	}
	c, err := Resolve(nil, environment(nil), f)
	if err != nil {
		t.Fatalf("the values of the default file: %v", err)
	}
	plain, _ := Resolve(nil, environment(nil), File{})
	if c.Hold != plain.Hold || c.Grace != plain.Grace || c.ResolveTimeout != plain.ResolveTimeout || c.LogLevel != plain.LogLevel {
		t.Error("the default file shows other defaults than there are")
	}
}

func keys(m map[string]value) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestLoadOfNoFileSaysNothing(t *testing.T) {
	t.Parallel()
	if _, err := Load(filepath.Join(t.TempDir(), "config.yaml")); err != nil {
		t.Errorf("Load of a file that is not there: %v", err)
	}
	_, err := Load(t.TempDir())
	if !apperr.Is(err, apperr.OwnConfig) {
		t.Errorf("Load of a folder: %v, want an error of ours", err)
	}
	big := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(big, []byte("#"+strings.Repeat("x", maxFile)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big); err == nil {
		t.Error("Load took a file beyond its bound")
	}
}

// Whatever the file holds, it is refused with a place in it or understood.
func FuzzParse(f *testing.F) {
	f.Add("lan: true\nlogs:\n  perRun: 1MB\n")
	f.Add("peers:\n- a:1\n- {b: c}\n")
	f.Add("&a lan: *a\n? x\n: y\n<<: *a")
	f.Add("discovery: [local, [mdns]]\n--- !!str x\n...")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("c.yaml", []byte(text))
		if err != nil {
			if !strings.Contains(err.Error(), "c.yaml:") {
				t.Errorf("Parse(%q) = %v, without a place", text, err)
			}
			return
		}
		for key := range file.values {
			if !slices.ContainsFunc(settings, func(s setting) bool { return s.key == key }) {
				t.Errorf("Parse(%q) took the key %q", text, key)
			}
		}
		// A value that cannot be read is an error, not a crash.
		_, _ = Resolve(nil, func(string) string { return "" }, file)
	})
}
