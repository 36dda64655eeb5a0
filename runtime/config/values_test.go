package config

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/tls/identity"
)

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"250ms": 250 * time.Millisecond, "3m12s": 192 * time.Second, "6d": 144 * time.Hour,
		"1d2h": 26 * time.Hour, "0": 0, "18µs": 18 * time.Microsecond, " 10s ": 10 * time.Second,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10", "ten", "d", "-1d", "1d-2h", "9999999d", "1.5d", "5dd"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "1000": 1000, "37b": 37, "64MB": 64e6, "64MiB": 64 << 20, "4Mi": 4 << 20, "1 GB": 1e9, "2tib": 2 << 40,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MB", "-1", "1.5GB", "1XB", "99999999999TiB", "9999999999999999999999"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %v, want an error", text, got)
		}
	}
}

func TestParsePort(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint16{"1": 1, "65535": 65535, "-1": 0, "0": 0, " 8000 ": 8000} {
		if got, err := ParsePort(text); err != nil || got != want {
			t.Errorf("ParsePort(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-2", "65536", "http", "8000/tcp"} {
		if got, err := ParsePort(text); err == nil {
			t.Errorf("ParsePort(%q) = %v, want an error", text, got)
		}
	}
}

func TestAFoldersNameBecomesAValidAppID(t *testing.T) {
	t.Parallel()
	for folder, want := range map[string]string{
		"/home/ada/todo-api":       "todo-api",
		"/home/ada/Todo API (new)": "Todo-API-new",
		"/home/ada/.config":        "config",
		"/home/ada/prüf-stand":     "pr-f-stand",
		"/":                        "app",
		"/tmp/---":                 "app",
		"/src/pillion-cli":         "cli",
		"/src/日本":                  "app",
		"/x/a_b.c":                 "a_b-c",
	} {
		if got := DeriveAppID(folder); got != want {
			t.Errorf("DeriveAppID(%q) = %q, want %q", folder, got, want)
		}
	}
}

func FuzzDeriveAppID(f *testing.F) {
	f.Add("/home/ada/todo-api")
	f.Add(strings.Repeat("x-", 80))
	f.Add("pillion-pillion-x")
	f.Fuzz(func(t *testing.T, folder string) {
		if id := DeriveAppID(folder); identity.CheckOwnAppID(id) != nil {
			t.Errorf("DeriveAppID(%q) = %q, which cannot be run", folder, id)
		}
	})
}

// What a size parses to is what a second reader gets from its digits and unit.
func FuzzParseSize(f *testing.F) {
	f.Add("64MB")
	f.Add("9223372036854775807")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseSize(s)
		if err != nil {
			return
		}
		text := strings.ToLower(strings.TrimSpace(s))
		digits := strings.TrimRight(text, "bkmgti ")
		n, err := strconv.ParseFloat(digits, 64)
		if err != nil || got < 0 {
			t.Fatalf("ParseSize(%q) = %d", s, got)
		}
		unit := 1.0
		for i, letter := range "kmgt" {
			if strings.ContainsRune(text, letter) {
				base := 1000.0
				if strings.Contains(text, "i") {
					base = 1024
				}
				unit = math.Pow(base, float64(i+1))
			}
		}
		if want := n * unit; math.Abs(want-float64(got)) > want*1e-9 {
			t.Errorf("ParseSize(%q) = %d, want %g", s, got, want)
		}
	})
}
