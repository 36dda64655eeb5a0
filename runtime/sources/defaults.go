package sources

import (
	"path"
	"slices"
	"strings"
)

// never are the folders and files that are nobody's source, whatever a
// .gitignore says.
var never = []string{
	".git", ".hg", ".svn", ".jj", ".bzr", "CVS", "_darcs", ".fslckout",
	"node_modules", "bower_components", ".venv", "venv", "__pycache__", "*.pyc", "*.pyo",
	".idea", ".vscode", ".vs", ".fleet", ".settings", "*.iml",
	"*.swp", "*.swo", "*.swx", "*~", ".#*", "#*#", "4913", "*.tmp", "*.temp", "*.crdownload", "*.part",
	"*___jb_tmp___", "*___jb_old___", ".goutputstream-*", ".nfs*", ".fuse_hidden*",
	".DS_Store", "._*", "Thumbs.db", "desktop.ini",
	".gitignore", ".pillionignore", ".gitattributes", ".gitkeep",
	".pillion",
}

// outputs are written by programs and tools. A .gitignore can have them back:
// !important.log
var outputs = []string{
	"*.log", "*.pid", "*.db", "*.db-wal", "*.db-shm", "*.db-journal",
	"*.sqlite", "*.sqlite-*", "*.sqlite3", "*.sqlite3-*",
	".coverage", ".coverage.*", "coverage.out", "coverage.xml", "coverage.json", "lcov.info", "*.lcov", "*.prof",
	"htmlcov", ".nyc_output", "*.tsbuildinfo",
	".pytest_cache", ".mypy_cache", ".ruff_cache", ".tox", ".nox", ".eggs", "*.egg-info", ".ipynb_checkpoints",
	".next", ".nuxt", ".output", ".svelte-kit", ".astro", ".turbo", ".parcel-cache", ".angular", ".vite", ".cache", ".sass-cache",
	".gradle", ".dart_tool", ".terraform", ".direnv", ".devenv", ".bundle", "zig-out", ".zig-cache", "cmake-build-*", "bazel-*",
}

// tools write into folders with common names, which are theirs only beside a
// file of the tool's.
var tools = []struct{ files, folders []string }{
	{[]string{"package.json", "deno.json"}, []string{"dist", "build", "out", "coverage"}},
	{[]string{"Cargo.toml", "pom.xml", "build.sbt"}, []string{"target"}},
	{[]string{"build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"}, []string{"build", "out"}},
	{[]string{"*.csproj", "*.fsproj", "*.vbproj"}, []string{"bin", "obj"}},
	{[]string{"pyproject.toml", "setup.py", "setup.cfg", "requirements.txt"}, []string{"build", "dist", "env"}},
	{[]string{"go.mod", "composer.json", "Gemfile"}, []string{"vendor"}},
	{[]string{"Gemfile"}, []string{"log", "tmp"}},
	{[]string{".air.toml", ".air.conf"}, []string{"tmp"}},
	{[]string{"CMakeLists.txt", "meson.build", "pubspec.yaml"}, []string{"build"}},
	{[]string{"mix.exs"}, []string{"_build", "deps"}},
	{[]string{"rebar.config", "dune-project"}, []string{"_build"}},
	{[]string{"stack.yaml", "*.cabal"}, []string{".stack-work", "dist-newstyle"}},
}

// isOne reports whether a name is one of those that patterns stand for.
func isOne(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if !strings.ContainsAny(pattern, "*") {
			return pattern == name
		}
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// outputsBeside are the names of folders that tools write into, by the names in
// the folder above.
func outputsBeside(names []string) []string {
	var out []string
	for _, tool := range tools {
		if slices.ContainsFunc(names, func(name string) bool { return isOne(tool.files, name) }) {
			out = append(out, tool.folders...)
		}
	}
	return out
}
