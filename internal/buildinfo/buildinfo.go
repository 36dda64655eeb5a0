// Package buildinfo says which pillion this is.
package buildinfo

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// version is set by packagers at link time (-X); everybody else gets what the
// Go tool recorded.
var version string //nolint:gochecknoglobals // only the linker writes it

// Info is what is known about this binary. Unknown parts are empty.
type Info struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Modified bool   `json:"modified"` // built from a tree with changes
	Date     string `json:"date"`     // of the commit, RFC 3339
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Read returns the facts of this binary.
func Read() Info {
	info := Info{
		Version: version, Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	build, ok := debug.ReadBuildInfo()
	if ok {
		if info.Version == "" && build.Main.Version != "(devel)" {
			info.Version = build.Main.Version
		}
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				info.Commit = s.Value
			case "vcs.time":
				info.Date = s.Value
			case "vcs.modified":
				info.Modified = s.Value == "true"
			}
		}
	}
	if info.Version == "" {
		info.Version = "dev"
	}
	return info
}

// Version is the version alone, never empty: "dev" where nobody recorded one.
func Version() string { return Read().Version }

// Dapr is the version of Dapr whose API and behaviour this binary has.
const Dapr = "1.18.0"

// DaprVersion is what we say where Dapr says its version, and where tools read
// a number: Dapr's, with our own behind it as SemVer's build metadata, such as
// 1.18.0+pillion.v0.2.0.
func DaprVersion() string {
	own := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' {
			return c
		}
		return '-' // a second + would end the version
	}, Version())
	return Dapr + "+pillion." + own
}
