package sources_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/sources"
)

// plant makes a tree of files.
func plant(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		write(t, dir, name, "1")
	}
	return dir
}

func TestWhatCountsByItself(t *testing.T) {
	t.Parallel()
	const common = ".git/HEAD node_modules/a/b.js .venv/lib/x.py venv/x.py a/__pycache__/x.pyc y.pyc .idea/x.xml .vscode/a.json .a.go.swp a.go~ " +
		".#a.go #a.go# 4913 sedK3x9Za .!4131!a.go a.tmp .DS_Store app.log data.db data.db-wal data.db-shm data.sqlite3 .coverage coverage.out .gitignore .pillion/x .next/a.js "
	for name, tree := range map[string]struct{ files, want string }{
		"anywhere":             {common + "main.go api/a.go dist/a build/b out/c target/d bin/e obj/f vendor/g tmp/h .env v/4913/i a~/j sedans.go sedate", ".env api/a.go a~/j bin/e build/b dist/a main.go obj/f out/c sedans.go sedate target/d tmp/h v/4913/i vendor/g"},
		"JavaScript":           {"package.json src/a.ts dist/a.js build/a.js out/a.js target/a coverage/x", "package.json src/a.ts target/a"},
		"Rust":                 {"Cargo.toml src/main.rs target/debug/x", "Cargo.toml src/main.rs"},
		"Rust, a workspace":    {"a/Cargo.toml a/src/main.rs a/target/debug/x target/notes", "a/Cargo.toml a/src/main.rs target/notes"},
		"Maven":                {"pom.xml src/A.java target/A.class", "pom.xml src/A.java"},
		"Gradle":               {"build.gradle.kts src/A.kt build/A.class .gradle/x", "build.gradle.kts src/A.kt"},
		".NET":                 {"App.csproj A.cs bin/App.dll obj/x bin2/y", "A.cs App.csproj bin2/y"},
		"Python":               {"pyproject.toml app.py build/x dist/y app.egg-info/z .mypy_cache/a", "app.py pyproject.toml"},
		"Go":                   {"go.mod main.go vendor/a/a.go build/a.go", "build/a.go go.mod main.go"},
		"a file, not a folder": {"package.json build dist", "build dist package.json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := plant(t, strings.Fields(tree.files)...)
			if got := strings.Join(found(t, sources.Options{Dir: dir}), " "); got != tree.want {
				t.Errorf("\n got %s\nwant %s", got, tree.want)
			}
		})
	}
}

func TestRulesTakeOutputsBackButNotWhatIsNeverASource(t *testing.T) {
	t.Parallel()
	dir := plant(t, "package.json", "dist/a.js", "important.log", "other.log", "node_modules/a.js", "gen/a.go", "gen/keep.go", "docs/a.md")
	write(t, dir, ".gitignore", "!dist/\n!important.log\n!node_modules/\ngen/*\n", ".pillionignore", "!gen/keep.go\ndocs/\n")
	want := []string{"dist/a.js", "gen/keep.go", "important.log", "package.json"}
	if got := found(t, sources.Options{Dir: dir}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatIsNamedCounts(t *testing.T) {
	t.Parallel()
	dir := plant(t, "main.go", "src/a.go", "src/a.html", "src/web/b.go", "src/web/gen/c.go", "dist/a.js", "dist/sub/b.js", "app.log", "app/[id]/page.tsx")
	outside := plant(t, "lib.go", "x.log")
	write(t, dir, ".gitignore", "dist/*\n*.log\ngen/\n")
	relative, err := filepath.Rel(dir, outside)
	must(t, err)
	for name, c := range map[string]struct{ paths, want []string }{
		"folder, rules from above":   {[]string{"src"}, []string{"src/a.go", "src/a.html", "src/web/b.go"}},
		"ignored folder":             {[]string{"dist"}, []string{"dist/a.js", "dist/sub/b.js"}},
		"ignored by name":            {[]string{"src/web/gen"}, []string{"src/web/gen/c.go"}},
		"ignored file":               {[]string{"app.log"}, []string{"app.log"}},
		"pattern":                    {[]string{"src/**/*.go"}, []string{"src/a.go", "src/web/b.go"}},
		"pattern and folder in it":   {[]string{"src/**/*.go", "src"}, []string{"src/a.go", "src/a.html", "src/web/b.go"}},
		"two patterns, one in other": {[]string{"src/web/*.go", "src/*.html"}, []string{"src/a.html", "src/web/b.go"}},
		"brackets that are a name":   {[]string{"app/[id]"}, []string{"app/[id]/page.tsx"}},
		"several, one twice":         {[]string{"main.go", "./main.go", "src/a.go"}, []string{"main.go", "src/a.go"}},
		"outside":                    {[]string{relative}, []string{filepath.ToSlash(relative) + "/lib.go"}},
		"absolute":                   {[]string{filepath.Join(dir, "main.go")}, []string{"main.go"}},
	} {
		if got := found(t, sources.Options{Dir: dir, Paths: c.paths}); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestOwnFilesAreNoSources(t *testing.T) {
	t.Parallel()
	dir := plant(t, "main.go", "home/x", "dapr.yaml")
	got := found(t, sources.Options{Dir: dir, Own: []string{filepath.Join(dir, "home"), filepath.Join(dir, "dapr.yaml")}})
	if !slices.Equal(got, []string{"main.go"}) {
		t.Errorf("got %q", got)
	}
}

func TestLinksAreNotFollowedInCircles(t *testing.T) {
	t.Parallel()
	dir := plant(t, "main.go", "src/a.go")
	outside := plant(t, "real.go", "lib/b.go")
	for link, target := range map[string]string{
		"src/up": dir, "src/file.go": filepath.Join(outside, "real.go"), "lib": filepath.Join(outside, "lib"), "gone.go": "nowhere",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Skip("no symbolic links:", err)
		}
	}
	if got, want := found(t, sources.Options{Dir: dir}), []string{"main.go", "src/a.go", "src/file.go"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := found(t, sources.Options{Dir: dir, Paths: []string{"lib"}}), []string{"lib/b.go"}; !slices.Equal(got, want) {
		t.Errorf("named: got %q, want %q", got, want)
	}
}

func TestAFolderOfTheRepositoryHasTheRulesAboveIt(t *testing.T) {
	t.Parallel()
	dir := plant(t, "apps/a/main.go", "apps/a/x.gen", "apps/a/y.excluded", "apps/a/z", "attic/b/main.go")
	write(t, dir, ".git/info/exclude", "*.excluded\n", ".gitignore", "*.gen\n/attic\n", "apps/.gitignore", "z\n")
	if got := found(t, sources.Options{Dir: filepath.Join(dir, "apps", "a")}); !slices.Equal(got, []string{"main.go"}) {
		t.Errorf("got %q", got)
	}
	if got := found(t, sources.Options{Dir: filepath.Join(dir, "attic", "b")}); !slices.Equal(got, []string{"main.go"}) {
		t.Errorf("in an ignored folder: got %q", got)
	}
}

func TestAWorktreeHasItsRepositorysRules(t *testing.T) {
	t.Parallel()
	repo, dir := plant(t, "x"), plant(t, "main.go", "a.excluded")
	write(t, repo, ".git/info/exclude", "*.excluded\n", ".git/worktrees/w/commondir", "../..\n")
	write(t, dir, ".git", "gitdir: "+filepath.Join(repo, ".git", "worktrees", "w")+"\n")
	if got := found(t, sources.Options{Dir: dir}); !slices.Equal(got, []string{"main.go"}) {
		t.Errorf("got %q", got)
	}
}

// As in git since 2.32, or a repository could have files read that are not its own.
func TestRulesBehindALinkDoNotCount(t *testing.T) {
	t.Parallel()
	dir := plant(t, "main.go", "a.gen", "b.other")
	write(t, dir, "rules.txt", "*.gen\n", "others.txt", "*.other\n")
	for link, target := range map[string]string{".gitignore": "rules.txt", ".pillionignore": "others.txt"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Skip("no symbolic links:", err)
		}
	}
	if got, want := found(t, sources.Options{Dir: dir}), []string{"a.gen", "main.go", "others.txt", "rules.txt"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
