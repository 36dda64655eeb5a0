package sources_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/sources"
)

// git runs git in a folder, without anybody's settings.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "git", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "HOME="+dir, "XDG_CONFIG_HOME="+dir)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, errs.String())
	}
	return string(out)
}

// pick is one of the words.
func pick(r *rand.Rand, words ...string) string { return words[r.IntN(len(words))] }

// pattern is a line of a .gitignore.
func pattern(r *rand.Rand) string {
	line := pick(r, "", "", "", "!", "!", "!!", " ", "\t", "//", "./", "!/", "!#", "\\ ", `\!`, "#", "/", "**/")
	for i := range 1 + r.IntN(4) {
		if i > 0 {
			line += pick(r, "/", "/", "", "/**/")
		}
		line += pick(r, "a", "b", "ab", "a.b", "*", "**", "*.b", "a*", "?", "[ab]", "[!a]", "[^b]", "[a-b]", "[]a]", "[[:alpha:]]",
			`\a`, `\*`, "a**", "**b", "[a", "[[:no:]]", "[a-]", "[b-a]", "a b", "[[:]a]", `[\]a]`, "a[/]b", "*a*b", "A", "***", "a***b", "**a**", "[a-", "[[:alpha:", "[[:alpha]]", "[!]]", "[^]a-c]", "[a\\-c]", "[\\a-\\c]", "[--b]", "[a-b-c]", "[[:upper:][:digit:]]", "[[:ALPHA:]]", "\t", "a\t", "é", "?é", "[é]", "{a,b}", "#", "a#", "a!", "!", "\\", "\\\\", "\\[a]", "[*]", "[?]", "a?b", "*?", "?*", "**?", "[[-b]", "[]-a]", "[!-a]", "[a-[]")
	}
	return line + pick(r, "", "", "", "//", "/.", "\t", " \t", "\t ", "\r ", " \r", "\r\r", "/", "/*", "/**", " ", `\ `, `\`, "\r", "  ")
}

func patterns(r *rand.Rand) string {
	var lines []string
	for range 1 + r.IntN(5) {
		lines = append(lines, pattern(r))
	}
	return pick(r, "", "", "\ufeff") + strings.Join(lines, "\n") + pick(r, "", "\n")
}

// grow makes folders and files with rules at all levels.
func grow(t *testing.T, r *rand.Rand, dir string, deep int) {
	t.Helper()
	for range 1 + r.IntN(5) {
		name := pick(r, "a", "b", "ab", "a.b", "ba.b", "c", "a b", "ab ", "A", "]", "!a", "#a", "a-b", "a*", `a\`, "é", "aé", "-", "[", "?", "a\t", "#", "!", "1", "{a,b}", "^", "a b b")
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		if deep > 0 && r.IntN(3) > 0 {
			must(t, os.Mkdir(path, 0o700))
			grow(t, r, path, deep-1)
			continue
		}
		must(t, os.WriteFile(path, nil, 0o600))
	}
	if r.IntN(3) == 0 {
		must(t, os.WriteFile(filepath.Join(dir, ".gitignore"), []byte(patterns(r)), 0o600))
	}
}

// found are the files that count.
func found(t *testing.T, o sources.Options) []string {
	t.Helper()
	out, err := sources.Found(o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestGitIgnoresTheSame(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil || runtime.GOOS != "linux" {
		t.Skip("git, and names that only Linux has, are needed")
	}
	trees := uint64(30)
	if os.Getenv("PILLION_LONG") == "1" {
		trees = 500
	}
	files, dir := 0, t.TempDir()
	git(t, dir, "init", "-q")
	for seed := range trees {
		r := rand.New(rand.NewPCG(seed, 7))
		for _, e := range entries(t, dir) {
			if e.Name() != ".git" {
				must(t, os.RemoveAll(filepath.Join(dir, e.Name())))
			}
		}
		must(t, os.WriteFile(filepath.Join(dir, ".git", "info", "exclude"), []byte(patterns(r)), 0o600))
		must(t, os.WriteFile(filepath.Join(dir, ".gitignore"), []byte(patterns(r)), 0o600))
		grow(t, r, dir, 4)
		var want []string
		for name := range strings.SplitSeq(git(t, dir, "ls-files", "-z", "--others", "--exclude-standard"), "\x00") {
			if name != "" && filepath.Base(name) != ".gitignore" {
				want = append(want, name)
			}
		}
		slices.Sort(want)
		files += len(want)
		if got := found(t, sources.Options{Dir: dir, Paths: []string{"."}}); !slices.Equal(got, want) {
			t.Fatalf("seed %d in %s\n got %q\nwant %q\n%s", seed, dir, got, want, rules(t, dir))
		}
	}
	t.Log(files, "files in", trees, "trees")
}

func entries(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	out, err := os.ReadDir(dir)
	must(t, err)
	return out
}

// rules are all those below a folder.
func rules(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	for name := range strings.SplitSeq(git(t, dir, "ls-files", "-z", "--others", "--", ".gitignore", "**/.gitignore"), "\x00") {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			fmt.Fprintf(&out, "%s: %q\n", name, text)
		}
	}
	text, _ := os.ReadFile(filepath.Join(dir, ".git", "info", "exclude"))
	fmt.Fprintf(&out, "exclude: %q\n", text)
	return out.String()
}
