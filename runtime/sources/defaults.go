package sources

import (
	"slices"
	"strings"
)

// never are the folders and files that are nobody's source, whatever a
// .gitignore says.
var never = namesOf(
	".git", ".hg", ".svn", ".jj", ".bzr", "CVS", "_darcs", ".fslckout",
	"node_modules", "bower_components", ".venv", "venv", "__pycache__", "*.pyc", "*.pyo",
	".idea", ".vscode", ".vs", ".fleet", ".settings",
	".pillion",
)

// neverFiles are the same, of files alone.
var neverFiles = namesOf(
	"*.iml", "*.swp", "*.swo", "*.swx", "*~", ".#*", "#*#", "4913", "*.tmp", "*.temp", "*.crdownload", "*.part",
	"*___jb_tmp___", "*___jb_old___", ".goutputstream-*", ".nfs*", ".fuse_hidden*", ".!*!*",
	".DS_Store", "._*", "Thumbs.db", "desktop.ini",
	".gitignore", ".pillionignore", ".gitattributes", ".gitkeep",
)

// isSeds reports whether name is what sed -i calls the file it writes until that
// takes the other one's place: sed, and six letters or digits.
func isSeds(name string) bool {
	rest, found := strings.CutPrefix(name, "sed")
	return found && len(rest) == 6 && !strings.ContainsFunc(rest, func(c rune) bool {
		return (c < '0' || '9' < c) && (c < 'A' || 'Z' < c) && (c < 'a' || 'z' < c)
	})
}

// outputs are written by programs and tools. A .gitignore can have them back:
// !important.log
var outputs = namesOf(
	"*.log", "*.pid", "*.db", "*.db-wal", "*.db-shm", "*.db-journal",
	"*.sqlite", "*.sqlite-*", "*.sqlite3", "*.sqlite3-*",
	".coverage", ".coverage.*", "coverage.out", "coverage.xml", "coverage.json", "lcov.info", "*.lcov", "*.prof",
	"htmlcov", ".nyc_output", "*.tsbuildinfo",
	".pytest_cache", ".mypy_cache", ".ruff_cache", ".tox", ".nox", ".eggs", "*.egg-info", ".ipynb_checkpoints",
	".next", ".nuxt", ".output", ".svelte-kit", ".astro", ".turbo", ".parcel-cache", ".angular", ".vite", ".cache", ".sass-cache",
	".gradle", ".dart_tool", ".terraform", ".direnv", ".devenv", ".bundle", "zig-out", ".zig-cache", "cmake-build-*", "bazel-*",
)

// tools write into folders with common names, which are theirs only beside a
// file of the tool's.
var tools = []struct {
	files   names
	folders []string
}{
	{namesOf("package.json", "deno.json"), []string{"dist", "build", "out", "coverage"}},
	{namesOf("Cargo.toml", "pom.xml", "build.sbt"), []string{"target"}},
	{namesOf("build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"), []string{"build", "out"}},
	{namesOf("*.csproj", "*.fsproj", "*.vbproj"), []string{"bin", "obj"}},
	{namesOf("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt"), []string{"build", "dist", "env"}},
	{namesOf("go.mod", "composer.json", "Gemfile"), []string{"vendor"}},
	{namesOf("Gemfile"), []string{"log", "tmp"}},
	{namesOf(".air.toml", ".air.conf"), []string{"tmp"}},
	{namesOf("CMakeLists.txt", "meson.build", "pubspec.yaml"), []string{"build"}},
	{namesOf("mix.exs"), []string{"_build", "deps"}},
	{namesOf("rebar.config", "dune-project"), []string{"_build"}},
	{namesOf("stack.yaml", "*.cabal"), []string{".stack-work", "dist-newstyle"}},
}

// outputsBeside are the names of folders that tools write into, by the names in
// the folder above.
func outputsBeside(found []string) []string {
	var out []string
	for _, tool := range tools {
		if slices.ContainsFunc(found, tool.files.have) {
			out = append(out, tool.folders...)
		}
	}
	return out
}
